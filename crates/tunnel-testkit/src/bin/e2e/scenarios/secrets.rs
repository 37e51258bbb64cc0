//! A token's secret is in no log, no error and no command line, however much is logged.

use std::sync::Arc;

use tunnel_protocol::Token;
use tunnel_testkit::{Upstream, Visitor};

use crate::harness::{Fault, Laptop, Outcome, Process, Vps, World, check, within};

super::scenarios! {
    "a token's secret is in no log and no command line" => no_leak,
    "a token's secret is in no log without TLS either" => no_leak_in_plaintext,
}

async fn no_leak(world: Arc<World>) -> Outcome<String> {
    try_all(world, &[]).await
}

async fn no_leak_in_plaintext(world: Arc<World>) -> Outcome<String> {
    try_all(world, &["--plaintext"]).await
}

async fn try_all(world: Arc<World>, flags: &[&str]) -> Outcome<String> {
    let mut vps = Vps::new(&world, flags)?;
    vps.set("TUNNEL_LOG", "trace");
    let mut server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let token = vps.token("canary").await?;
    let canaries = canaries(&token)?;
    let file = world.path("token");
    std::fs::write(&file, format!("{token}\n"))?;
    let file = file.display().to_string();

    let mut laptop = Laptop::new(&world, "laptop", vps.control(), &token);
    laptop.set("TUNNEL_LOG", "trace");
    if !flags.is_empty() {
        laptop.set("TUNNEL_PLAINTEXT", "1");
    }
    let (by_variable, online) = laptop.http(upstream.address(), "one").await?;
    laptop.unset("TUNNEL_TOKEN");
    laptop.set("TUNNEL_TOKEN_FILE", &file);
    let (by_file, _) = laptop.http(upstream.address(), "two").await?;
    within("a page", Visitor::get(vps.web(), online.host(), "/")).await??;

    // Errors are where secrets slip out: a damaged token, one that isn't known, one that is revoked.
    let mut ends = Vec::new();
    let wrong = [token.replacen("tnl_", "tnl-", 1), token[..token.len() - 1].to_owned(), format!("{token}x")];
    for wrong in wrong {
        let mut laptop = Laptop::new(&world, "typo", vps.control(), &wrong);
        laptop.set("TUNNEL_LOG", "trace");
        ends.push(world.run(laptop.command("http", upstream.address(), &[])).await?);
    }
    let mark = server.process.mark();
    vps.revoke("canary").await?;
    let mut clients = [by_variable, by_file];
    let mut searched = Searched::default();
    for client in &mut clients {
        check!(!is_in(&client.command_line().unwrap_or_default(), &canaries), "it is in a command line");
        client.exit().await?;
        searched.search(client, &canaries)?;
    }
    server.process.says(mark, "the token was revoked").await?;
    ends.push(world.run(laptop.command("http", upstream.address(), &[])).await?);
    for end in &ends {
        check!(end.status != Some(0), "a wrong token was taken: {end:?}");
        check!(
            !is_in(&end.stdout, &canaries) && !is_in(&end.stderr, &canaries),
            "it is in an error: {end:?}"
        );
    }
    check!(!is_in(&server.process.command_line()?, &canaries), "it is in the server's command line");
    server.process.signal(rustix::process::Signal::TERM)?;
    server.process.exit().await?;
    searched.search(&server.process, &canaries)?;
    Ok(format!("{} lines at trace, {} bytes", searched.lines, searched.bytes))
}

/// The forms a secret may be written in, and those of its hash, which is as good where there is no TLS.
fn canaries(token: &str) -> Outcome<Vec<String>> {
    // `tnl_`, then layout and id make 12 letters; the secret's 24 bytes make 32.
    let letters = token.get(16..48).ok_or(Fault::new("a token that is too short"))?;
    let parsed: Token = token.parse()?;
    let hash = String::from(parsed.hash());
    Ok(vec![letters.to_owned(), letters[..16].to_owned(), letters[16..].to_owned(), hash])
}

fn is_in(text: &str, canaries: &[String]) -> bool {
    canaries.iter().any(|canary| text.contains(canary))
}

/// How much was looked through.
#[derive(Debug, Default)]
struct Searched {
    lines: usize,
    bytes: usize,
}

impl Searched {
    fn search(&mut self, process: &Process, canaries: &[String]) -> Outcome {
        let lines = process.lines();
        check!(
            lines.iter().any(|line| line.text.contains("TRACE") || line.text.contains("DEBUG")),
            "nothing was traced"
        );
        for line in lines {
            let hidden =
                canaries.iter().fold(line.text.clone(), |text, canary| text.replace(canary, "SECRET"));
            check!(!is_in(&line.text, canaries), "a secret was logged: {hidden}");
            self.lines += 1;
            self.bytes += line.text.len();
        }
        Ok(())
    }
}
