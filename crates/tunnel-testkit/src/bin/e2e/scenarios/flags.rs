//! Flags that no other scenario is about: each refuses or changes what it says.

use std::{fs, os::unix::fs::PermissionsExt, process::Stdio, sync::Arc, time::Duration};

use tunnel_testkit::{Upstream, Visitor, header};
use tunnel_transport::generate_self_signed;

use super::refusals::is_one_line;
use crate::harness::{Laptop, Online, Outcome, SilentUpstream, Vps, World, check, ms, until, within};

super::scenarios! {
    "--control-cert is what the server shows, and --ca-file what a client takes" => control_certificate,
    "--grace ends waiting for visitors, on both sides" => grace,
    "--max-visitors refuses one more, and --public-url-port changes the address" => of_the_server,
    "--max-connections-per-address refuses one more of one address, and none of another" => connections,
    "--state-dir, --verbose, --no-check and --dir change what they say" => of_the_client,
    "--remove-subdomain takes a right away" => rights,
}

async fn control_certificate(world: Arc<World>) -> Outcome<String> {
    let (own, other) =
        (generate_self_signed(&["127.0.0.1".into()])?, generate_self_signed(&["127.0.0.1".into()])?);
    let write = |name: &str, text: &str| -> Outcome<String> {
        let path = world.path(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path.display().to_string())
    };
    let (cert, key) = (write("own.crt", &own.cert_pem)?, write("own.key", &own.key_pem)?);
    let stranger = write("other.crt", &other.cert_pem)?;
    let mut vps = Vps::new(&world, &["--control-cert", &cert, "--control-key", &key])?;
    let server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let mut client = laptop.start("http", upstream.address(), &["--ca-file", &cert])?;
    Online::wait(&mut client, 0).await?;
    client.stop().await?;
    let ended = world.run(laptop.command("http", upstream.address(), &["--ca-file", &stranger])).await?;
    is_one_line(&ended, 1, &["certificate"])?;
    Ok(format!("`{}`", ended.stderr.trim()))
}

async fn grace(world: Arc<World>) -> Outcome<String> {
    // Far less than the default of 30 s, which is what this would take without the flag.
    const GRACE: [&str; 2] = ["--grace", "300ms"];
    const LESS: Duration = Duration::from_secs(20);
    let mut vps = Vps::new(&world, &[GRACE[0], GRACE[1], "--hold", "0s"])?;
    let server = vps.start().await?;
    let silent = SilentUpstream::start(&world).await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let visit = async |host: &str| -> Outcome<Visitor> {
        let mut visitor = Visitor::connect(vps.web()).await?;
        visitor.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await?;
        until("the visitor at the upstream", || Ok(silent.connections()? == 1)).await?;
        Ok(visitor)
    };
    let mut client = laptop.start("http", silent.address, &GRACE)?;
    let mut waiting = visit(Online::wait(&mut client, 0).await?.host()).await?;
    let of_client = client.stop().await?;
    let answer = within("an answer", waiting.answer()).await?;
    check!(answer.as_ref().map_or(true, |answer| answer.status >= 500), "{answer:?}");
    until("the upstream without visitors", || Ok(silent.connections()? == 0)).await?;
    let (client, online) = laptop.http(silent.address, "app").await?;
    let _waiting = visit(online.host()).await?;
    let of_server = server.process.stop().await?;
    check!(of_client < LESS && of_server < LESS, "{} and {}", ms(of_client), ms(of_server));
    client.kill().await?;
    Ok(format!("client {}, server {}", ms(of_client), ms(of_server)))
}

async fn of_the_server(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &["--max-visitors", "1", "--public-url-port", "80"])?;
    let server = vps.start().await?;
    let silent = SilentUpstream::start(&world).await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let (_client, online) = laptop.http(silent.address, "app").await?;
    check!(online.url == "http://app.localhost", "the address is {}", online.url);
    let mut first = Visitor::connect(vps.web()).await?;
    first.send("GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n").await?;
    until("the first visitor at the upstream", || Ok(silent.connections()? == 1)).await?;
    let second = within("an answer", Visitor::get(vps.web(), "app.localhost", "/")).await??;
    let code = header(&second.head, "tunnel-error").unwrap_or("none");
    check!(second.status == 503 && code == "too-many-visitors", "{}: {code}", second.status);
    Ok(format!("{}; the second visitor gets {}", online.url, second.status))
}

async fn of_the_client(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let state = world.path("elsewhere");
    let state_dir = state.display().to_string();
    for flags in [&["--state-dir", &state_dir, "--verbose"][..], &[]] {
        let mut client = laptop.start("http", upstream.address(), flags)?;
        let online = Online::wait(&mut client, 0).await?;
        within("a page", Visitor::get(vps.web(), online.host(), "/said")).await??;
        let is_told = !flags.is_empty();
        if is_told {
            client.says(0, "/said").await?;
        }
        let kept = if is_told { state.join("names.json") } else { laptop.names_file() };
        check!(kept.exists(), "{flags:?}: there is no {}", kept.display());
        let told = client.lines().iter().any(|line| line.text.contains("/said"));
        check!(told == is_told, "{flags:?}: a request's line: {told}");
        check!(is_told != laptop.names_file().exists(), "{flags:?}: names are kept in the other place");
        client.stop().await?;
    }

    let login = ["login", "127.0.0.1:1", "--token", &server.token()?].map(str::to_owned);
    let without = world.run(world.tunnel("ben", &login)).await?;
    check!(without.status == Some(1), "a server that isn't there was logged in to: {without:?}");
    let with = world.run(world.tunnel("ben", login.iter().map(String::as_str).chain(["--no-check"]))).await?;
    check!(with.status == Some(0), "--no-check: {with:?}");

    let site = world.path("site");
    fs::create_dir(&site)?;
    fs::write(site.join("index.html"), "<p>my own</p>")?;
    let mut command = world.tunnel("ana", ["demo", "--dir", &site.display().to_string()]);
    command.stdout(Stdio::piped());
    let mut demo = world.start("the demo", command)?;
    let find = |line: &crate::harness::Line| {
        let (url, _) = line.text.split_once(" -> ")?;
        url.strip_prefix("http://").map(str::to_owned)
    };
    let host = demo.line(0, "its address", find).await?;
    let port = host.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(80);
    let page = within("a page", Visitor::get(([127, 0, 0, 1], port).into(), &host, "/")).await??;
    check!(page.body == b"<p>my own</p>", "the demo shows {}", String::from_utf8_lossy(&page.body));
    demo.stop().await?;
    Ok("another directory for names, lines for requests, a login unseen, one's own page".into())
}

async fn rights(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let _server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &vps.token("ana").await?);
    vps.token_command(&["edit", "ana", "--subdomain", "www"]).await?;
    let (mut client, _) = laptop.http(upstream.address(), "www").await?;
    let edited = vps.token_command(&["edit", "ana", "--remove-subdomain", "www"]).await?;
    check!(edited.status == Some(0), "{edited:?}");
    let status = client.exit().await?;
    check!(status == Some(1), "its client ended with {status:?}");
    let ended = world.run(laptop.command("http", upstream.address(), &["--subdomain", "www"])).await?;
    is_one_line(&ended, 1, &["name-reserved"])?;
    Ok("its client ended, and another is refused".into())
}

async fn connections(world: Arc<World>) -> Outcome<String> {
    // Those from loopback itself aren't counted.
    let flags = ["--max-connections-per-address", "1", "--accept-proxy-protocol", "127.0.0.0/8"];
    let mut vps = Vps::new(&world, &flags)?;
    let server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let (_client, online) = laptop.http(upstream.address(), "app").await?;
    let mut kept = Vec::new();
    for (from, expected) in [("192.0.2.1", 200), ("192.0.2.1", 503), ("192.0.2.2", 200)] {
        let mut visitor = Visitor::connect(vps.web()).await?;
        let host = online.host();
        let head = format!("PROXY TCP4 {from} 192.0.2.9 4000 80\r\nGET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        visitor.send(head).await?;
        let answer = within("an answer", visitor.answer()).await??;
        check!(answer.status == expected, "{from} got {}, not {expected}", answer.status);
        kept.push(visitor);
    }
    Ok("a second connection of one address gets 503, and another address its page".into())
}
