//! The first minute: what the README promises.

use std::{os::unix::fs::PermissionsExt, process::Stdio, sync::Arc};

use rustix::process::Signal;
use tunnel_testkit::{Upstream, Visitor};

use crate::harness::{Ended, Fault, Outcome, Vps, World, check, ms, within};

super::scenarios! {
    "a token, a login and an address: the first use works as it is told" => first_use,
    "the demo shows a page" => demo,
}

async fn first_use(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let ready = server.listening - server.process.started;
    let upstream = Upstream::hello("site").await?;

    let address = vps.control().to_string();
    let login = ["login", &address, "--token", &server.token()?];
    let login = world.run(world.tunnel("laptop", login)).await?;
    check!(login.status == Some(0), "the login failed: {login:?}");
    check!(login.stdout.contains("logged in"), "the login says what it did: {login:?}");
    let path = saved_login(&login)?;
    let mode = std::fs::metadata(&path)?.permissions().mode() & 0o777;
    check!(mode == 0o600, "the saved login has mode {mode:o}");
    check!(path.starts_with(world.path("laptop").to_string_lossy().as_ref()), "saved elsewhere: {path}");

    let mut shown = Vec::new();
    for signal in [Signal::INT, Signal::TERM] {
        let port = upstream.address().port().to_string();
        let mut command = world.tunnel("laptop", ["http", &port, "--subdomain", "myapp"]);
        command.stdout(Stdio::piped());
        let mut client = world.start("the client", command)?;
        let (line, at) = client.says(0, "http").await?;
        let expected = format!("http://{} -> http://localhost:{port}", vps.host("myapp"));
        check!(line == expected, "the first line is `{line}`, not `{expected}`");
        shown.push(ms(at - client.started));
        let answer = within("a page", Visitor::get(vps.web(), &vps.host("myapp"), "/hello")).await??;
        let body = String::from_utf8_lossy(&answer.body);
        check!(answer.status == 200 && body.starts_with("site /hello"), "{} {body}", answer.status);
        let answer = within("a page", Visitor::get(vps.web(), &vps.host("other"), "/")).await??;
        check!(answer.status == 404, "an unknown name gives {}", answer.status);
        client.signal(signal)?;
        let status = client.exit().await?;
        check!(status == Some(0), "after {signal:?} the exit status is {status:?}");
    }
    let stopped = server.process.stop().await?;
    Ok(format!(
        "server ready in {}, address shown after {}, idle server stopped in {}",
        ms(ready),
        shown.join(" and "),
        ms(stopped)
    ))
}

fn saved_login(login: &Ended) -> Outcome<String> {
    let path = login.stdout.trim_end().split("saved in ").nth(1);
    path.map(str::to_owned).ok_or(Fault::new(format!("the login doesn't say where it is saved: {login:?}")))
}

async fn demo(world: Arc<World>) -> Outcome<String> {
    let mut command = world.tunnel("laptop", ["demo"]);
    command.stdout(Stdio::piped());
    let mut demo = world.start("the demo", command)?;
    let find = |line: &crate::harness::Line| {
        let (url, _) = line.text.split_once(" -> ")?;
        Some((url.strip_prefix("http://")?.to_owned(), line.at))
    };
    let (host, at) = demo.line(0, "its address", find).await?;
    let port = host.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(80);
    let web = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let page = within("a page", Visitor::get(web, &host, "/")).await??;
    let body = String::from_utf8_lossy(&page.body).to_lowercase();
    check!(page.status == 200 && body.contains("<html"), "{} {body:.200}", page.status);
    let shown = at - demo.started;
    demo.signal(Signal::INT)?;
    let status = demo.exit().await?;
    check!(status == Some(0), "the demo ended with {status:?}");
    Ok(format!("address shown after {}, {} bytes of page", ms(shown), page.body.len()))
}
