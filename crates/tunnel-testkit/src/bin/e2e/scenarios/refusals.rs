//! What can't work is refused at once and in one line; what may work later is tried again.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt, process::Stdio, sync::Arc};

use rustix::process::Signal;
use tokio::time::Instant;
use tunnel_protocol::Token;
use tunnel_testkit::{Upstream, Visitor, header};

use crate::harness::{Ended, Laptop, Line, Outcome, Told, Vps, World, check, ms, within};

super::scenarios! {
    "a refusal that trying again can't cure ends the client with its status and one line" => refused,
    "a token that is revoked ends its client" => revoked,
    "a server that isn't there is tried again and again" => unreachable,
    "bad usage ends with status 2" => bad_usage,
    "a server doesn't start open to all, nor with a key that others can read" => careless_server,
    "visitors are told whose fault it is" => visitors_are_told,
}

/// One line on standard error that begins with `error:` and contains each of `parts`.
pub(super) fn is_one_line(ended: &Ended, status: i32, parts: &[&str]) -> Outcome {
    check!(ended.status == Some(status), "the status is not {status}: {ended:?}");
    let lines: Vec<&str> = ended.stderr.lines().filter(|line| !line.is_empty()).collect();
    check!(
        lines.len() == 1 && lines[0].starts_with("error: "),
        "not one line that begins with `error:`: {ended:?}"
    );
    for part in parts {
        check!(lines[0].contains(part), "`{part}` is not in the line: {}", lines[0]);
    }
    Ok(())
}

async fn refused(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let at = upstream.address();
    let owner = vps.token("ana").await?;
    let (_owner, _) = Laptop::new(&world, "ana", vps.control(), &owner).http(at, "myapp").await?;
    let other = Laptop::new(&world, "ben", vps.control(), &vps.token("ben").await?);

    let taken = world.run(other.command("http", at, &["--subdomain", "myapp"])).await?;
    is_one_line(&taken, 1, &["name-taken", "another token"]).told("a name that another token holds")?;
    let invalid = world.run(other.command("http", at, &["--subdomain", "-my_app"])).await?;
    check!(matches!(invalid.status, Some(1 | 2)), "a name that can't be one: {invalid:?}");
    let port = world.run(other.command("tcp", at, &["--remote-port", "1"])).await?;
    is_one_line(&port, 1, &["port-not-allowed"]).told("a port out of the range")?;

    let token: Token = owner.parse()?;
    let wrong = Token::new([7; 32], token.pin()).expose();
    let wrong = Laptop::new(&world, "eve", vps.control(), &wrong);
    let wrong = world.run(wrong.command("http", at, &[])).await?;
    is_one_line(&wrong, 3, &["unauthorized"]).told("a wrong token")?;
    let forged = Laptop::new(&world, "eve", vps.control(), &Token::new([7; 32], Some([9; 32])).expose());
    let forged = world.run(forged.command("http", at, &[])).await?;
    is_one_line(&forged, 1, &[]).told("a server with another key than the token's")?;
    server.process.stop().await?;
    Ok(format!("a taken name: `{}`", taken.stderr.trim()))
}

async fn revoked(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &["--hold", "1s"])?;
    let _server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &vps.token("ana").await?);
    let (mut client, online) = laptop.http(upstream.address(), "myapp").await?;
    let asked = Instant::now();
    vps.revoke("ana").await?;
    let status = client.exit().await?;
    let took = asked.elapsed();
    check!(status == Some(3), "the client ended with {status:?}");
    check!(client.lines().iter().any(|line| line.text.contains("revoked")), "it doesn't say why");
    let answer = within("an answer", Visitor::get(vps.web(), online.host(), "/")).await??;
    check!(matches!(answer.status, 404 | 503), "its visitors still get {}", answer.status);
    let again = world.run(laptop.command("http", upstream.address(), &[])).await?;
    is_one_line(&again, 3, &["unauthorized"])?;
    Ok(format!("gone {} after `tunnel token revoke`; its visitors get {}", ms(took), answer.status))
}

async fn unreachable(world: Arc<World>) -> Outcome<String> {
    // Bound and not listened on: nobody else gets the port, and connections are refused.
    let taken = tokio::net::TcpSocket::new_v4()?;
    taken.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let token = Token::new([7; 32], Some([9; 32])).expose();
    let laptop = Laptop::new(&world, "ana", taken.local_addr()?, &token);
    // People are told once a minute, scripts each time.
    let json = ["--output", "json"];
    let mut command = laptop.command("http", SocketAddr::from(([127, 0, 0, 1], 9)), &json);
    command.stdout(Stdio::piped());
    let mut client = world.start("the client", command)?;
    let mut tries = 0;
    let third = |line: &Line| {
        tries += usize::from(line.text.contains("\"event\":\"reconnecting\""));
        (tries == 3).then(|| line.text.clone())
    };
    let line = client.line(0, "three times that it tries", third).await?;
    client.signal(Signal::TERM)?;
    let status = client.exit().await?;
    check!(status == Some(0), "asked to stop before it was online, it ended with {status:?}");
    Ok(format!("`{line}`"))
}

async fn bad_usage(world: Arc<World>) -> Outcome<String> {
    let mut tried = 0;
    for arguments in [
        &["http"][..],
        &["frobnicate"],
        &["http", "not a port"],
        &["http", "3000", "--no-such-flag"],
        &["http", "70000"],
        &["tcp", "5432", "--remote-port", "0"],
        &["server", "--tcp-ports", "9-1"],
        &["server", "--hold", "soon"],
        &["token", "create"],
        &["client", "--local", "3000", "--token", "a", "--token-file", "b"],
    ] {
        let ended = world.run(world.tunnel("laptop", arguments)).await?;
        check!(ended.status == Some(2), "`tunnel {}`: {ended:?}", arguments.join(" "));
        check!(
            !ended.stderr.is_empty() && ended.stdout.is_empty(),
            "`tunnel {}`: {ended:?}",
            arguments.join(" ")
        );
        tried += 1;
    }
    let help = world.run(world.tunnel("laptop", ["--help"])).await?;
    check!(help.status == Some(0) && help.stdout.contains("Usage"), "{help:?}");
    Ok(format!("{tried} ways"))
}

async fn careless_server(world: Arc<World>) -> Outcome<String> {
    let data = world.path("data").display().to_string();
    let start = |bind: &'static str, flags: &[&'static str]| {
        let mut arguments = vec!["server", "--bind", bind, "--control-port", "0", "--public-port", "0"];
        arguments.extend(["--data-dir", &data]);
        arguments.extend(flags);
        world.tunnel("vps", arguments)
    };
    for bind in ["0.0.0.0", "::"] {
        let open = world.run(start(bind, &["--auth", "none"])).await?;
        is_one_line(&open, 2, &["--auth none", "127.0.0.1"]).told("--auth none for everyone")?;
    }
    let first = world.start("a first server", {
        let mut command = start("127.0.0.1", &[]);
        command.stdout(Stdio::piped());
        command
    });
    let mut first = first?;
    first.says(0, "tunnel login").await?;
    first.stop().await?;
    let key = world.path("data").join("control.key");
    let mode = fs::metadata(&key)?.permissions().mode() & 0o777;
    check!(mode == 0o600, "the key has mode {mode:o}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    let open = world.run(start("127.0.0.1", &[])).await?;
    is_one_line(&open, 1, &["control.key", "chmod"]).told("a key that others can read")?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    fs::write(&key, "not a key")?;
    let broken = world.run(start("127.0.0.1", &[])).await?;
    is_one_line(&broken, 1, &["control.key"]).told("a key that is none")?;
    Ok(format!("`{}`", open.stderr.trim().replace(&data, "DATA")))
}

async fn visitors_are_told(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &["--hold", "0s"])?;
    let server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let (client, online) = laptop.http(upstream.address(), "myapp").await?;
    let mut told = Vec::new();
    let mut expect = async |what: &str, host: &str, status: u16, code: &str| {
        let answer = within(what, Visitor::get(vps.web(), host, "/")).await??;
        let said = header(&answer.head, "tunnel-error").unwrap_or("nothing");
        check!(
            answer.status == status && said == code,
            "{what}: {} and {said}, not {status} and {code}",
            answer.status
        );
        told.push(format!("{what} {status}"));
        Ok(answer)
    };
    expect("unknown name", &vps.host("unknown"), 404, "tunnel-not-found").await?;
    drop(upstream);
    expect("no upstream", online.host(), 502, "upstream-refused").await?;
    client.kill().await?;
    let away = expect("owner away", online.host(), 503, "tunnel-away").await?;
    check!(header(&away.head, "retry-after").is_some(), "503 without Retry-After");
    Ok(told.join(", "))
}
