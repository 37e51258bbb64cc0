//! Settings that are read again while visitors come: from a file, on both sides, by a signal or because it changed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tunnel_testkit::{Upstream, Visitor, header};

use crate::harness::{Laptop, Load, Online, Outcome, Process, Vps, World, check, ms, within};

super::scenarios! {
    "reload: settings of both sides change under load, and no request fails" => under_load,
    "reload: a tunnel that is refused ends no other, and is asked for again when its file changes" => refused,
}

/// Requests a second: 500 on a machine with nothing else to do.
const RATE: u32 = 200;

async fn under_load(world: Arc<World>) -> Outcome<String> {
    let (server_file, client_file) = (world.path("server.toml"), world.path("client.toml"));
    write(&server_file, &server_settings(0))?;
    let mut vps = Vps::new(&world, &[])?;
    vps.set("TUNNEL_CONFIG", &server_file.display().to_string());
    let mut server = vps.start().await?;
    let upstreams = [Upstream::hello("site").await?, Upstream::hello("site").await?];
    let echo = Upstream::echo().await?;
    let upstream = |round: u32| upstreams[round as usize % 2].address();
    write(&client_file, &client_settings(0, upstream(0), &echo))?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let file = client_file.display().to_string();
    let mut client = laptop.start("start", "--all", &["--config", &file])?;
    let port =
        online(&mut client, 0, "echo").await?.url.rsplit(':').next().unwrap_or_default().parse::<u16>()?;
    let mut untouched = TcpStream::connect(("127.0.0.1", port)).await?;
    let now = online(&mut client, 0, "site").await?;

    let rate = rate();
    let load = Load::start(vps.web(), now.host(), rate);
    let rounds = world.pick(3, 20);
    for round in 1..=rounds {
        load.answers(u64::from(rate) / 2).await?;
        let (server_mark, client_mark) = (server.process.mark(), client.mark());
        write(&client_file, &client_settings(round, upstream(round), &echo))?;
        write(&server_file, &server_settings(round))?;
        if round % 2 == 0 {
            client.signal(Signal::HUP)?;
            server.process.signal(Signal::HUP)?;
        }
        let (reloaded, _) = client.event(client_mark, "reloaded").await?;
        check!(
            reloaded["error"].is_null() && reloaded["changed"] == serde_json::json!(["site"]),
            "{reloaded}"
        );
        server.process.says(server_mark, "settings read again").await?;
        within("the new settings", seen(&vps, now.host(), round)).await??;
        untouched.write_all(b"still here").await?;
        let mut heard = [0; 10];
        within("an echo", untouched.read_exact(&mut heard)).await??;
        check!(&heard == b"still here", "the untouched tunnel was touched");
    }

    let (server_mark, client_mark) = (server.process.mark(), client.mark());
    write(&client_file, "version = 1\nnonsense = true\n")?;
    write(&server_file, "version = 1\nhodl = 5\n")?;
    let (reloaded, _) = client.event(client_mark, "reloaded").await?;
    let error = reloaded["error"].as_str().unwrap_or_default();
    check!(error.contains("client.toml:2: unknown key `nonsense`"), "{reloaded}");
    let (line, _) = server.process.says(server_mark, "can't be used").await?;
    let why = "server.toml:2: unknown key `hodl`; did you mean `hold`?";
    check!(line.contains(why), "{line}");
    let status = world.run(world.tunnel("vps", ["status", "--data-dir", &vps.data_dir()])).await?;
    let told = status.stdout.lines().find(|line| line.starts_with("settings, for ")).unwrap_or_default();
    check!(told.contains(why) && told.ends_with("those from before go on"), "{status:?}");
    load.answers(u64::from(rate) / 2).await?;
    let report = load.stop().await;
    report.check_none_failed()?;
    drop(untouched);
    client.stop().await?;
    Ok(format!(
        "{} requests, {rate} a second, over {rounds} reloads of both sides and one of bad files, 0 failed, slowest {}",
        report.answered,
        ms(report.slowest)
    ))
}

async fn refused(world: Arc<World>) -> Outcome<String> {
    let file = world.path("client.toml");
    let upstream = Upstream::hello("site").await?;
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let settings = |name: &str| {
        format!(
            "version = 1\n[tunnel.good]\nkind = \"http\"\nupstream = \"{0}\"\nsubdomain = \"good\"\n\
             [tunnel.bad]\nkind = \"http\"\nupstream = \"{0}\"\nsubdomain = \"{name}\"\n",
            upstream.address()
        )
    };
    write(&file, &settings("not_a_name"))?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let path = file.display().to_string();
    let mut client = laptop.start("start", "--all", &["--config", &path])?;
    let (refused, _) = client.event(0, "refused").await?;
    check!(refused["name"] == "bad" && refused["code"] == "name-invalid", "{refused}");
    let good = online(&mut client, 0, "good").await?;
    check!(Visitor::get(vps.web(), good.host(), "/").await?.status == 200, "the other one is not served");
    let mark = client.mark();
    write(&file, &settings("better"))?;
    let better = online(&mut client, mark, "bad").await?;
    check!(better.host() == vps.host("better"), "{}", better.url);
    let mark = client.mark();
    write(&file, &settings("not_a_name"))?;
    let (refused, _) = client.event(mark, "refused").await?;
    check!(refused["message"].as_str().unwrap_or_default().contains("stays as it was"), "{refused}");
    check!(Visitor::get(vps.web(), better.host(), "/").await?.status == 200, "it didn't stay");
    client.signal(Signal::TERM)?;
    let status = client.exit().await?;
    check!(status == Some(1), "the exit status is {status:?}, and one tunnel is not as wanted");
    Ok("the good one was served throughout".into())
}

/// The rate that was asked for, as the machine may be busy with other things.
#[expect(clippy::disallowed_methods, reason = "who runs this knows what the machine can hold")]
fn rate() -> u32 {
    std::env::var("E2E_RATE").ok().and_then(|rate| rate.parse().ok()).unwrap_or(RATE)
}

fn write(path: &Path, text: &str) -> Outcome {
    // As editors do it: whole, under another name first.
    let other: PathBuf = path.with_extension("new");
    fs::write(&other, text)?;
    Ok(fs::rename(&other, path)?)
}

fn server_settings(round: u32) -> String {
    let limit = 10_000 + round;
    format!("version = 1\nhold = \"{}s\"\nmax_visitors = {limit}\nudp_ports = \"none\"\n", 5 + round)
}

/// One tunnel that changes each time, one that never does, and one that comes and goes.
fn client_settings(round: u32, upstream: std::net::SocketAddr, echo: &Upstream) -> String {
    let extra = format!("[tunnel.extra]\nkind = \"http\"\nupstream = \"{upstream}\"\n");
    format!(
        "version = 1\n[tunnel.site]\nkind = \"http\"\nupstream = \"{upstream}\"\nsubdomain = \"site\"\n\
         response_header = \"X-Round: {round}\"\n[tunnel.echo]\nkind = \"tcp\"\nupstream = \"{}\"\n{}",
        echo.address(),
        if round % 2 == 1 { &extra } else { "" }
    )
}

/// Waits until a named tunnel of a client is online.
async fn online(client: &mut Process, mark: usize, name: &str) -> Outcome<Online> {
    let find = |line: &crate::harness::Line| {
        let event: serde_json::Value = serde_json::from_str(&line.text).ok()?;
        let is_it = event["event"] == "online" && event["name"] == name;
        is_it.then(|| Online { url: event["url"].as_str().unwrap_or_default().to_owned(), at: line.at })
    };
    client.line(mark, &format!("that `{name}` is online"), find).await
}

/// Waits until visitors are answered by the settings of this round.
async fn seen(vps: &Vps, host: &str, round: u32) -> Outcome {
    loop {
        let answer = Visitor::get(vps.web(), host, "/").await?;
        check!(answer.status == 200, "{}", answer.head);
        if header(&answer.head, "x-round").and_then(|value| value.parse().ok()) == Some(round) {
            return Ok(());
        }
    }
}
