//! Each flag about visitors refuses, or changes, what it says.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt, sync::Arc};

use tunnel_testkit::{Answer, Upstream, Visitor, header};

use crate::harness::{Laptop, Online, Outcome, Process, Vps, World, check, within};

super::scenarios! {
    "visitors need a login, from the command line or a file, and the upstream doesn't see it" => logins,
    "visitors are refused by address and by rate" => addresses,
    "headers are set and removed, and the host rewritten both ways" => headers,
    "a development server that refuses the public host is explained to both ends" => development_servers,
    "a policy that makes no sense is refused in one line" => nonsense,
}

/// `ann:s3cret`
const LOGIN: &str = "Authorization: Basic YW5uOnMzY3JldA==";

/// A server, an upstream that says what it was asked, and one client with these flags.
struct Stage {
    vps: Vps,
    laptop: Laptop,
    upstream: Upstream,
    _server: Process,
}

impl Stage {
    async fn new(world: &Arc<World>, flags: &[&str]) -> Outcome<Self> {
        let mut vps = Vps::new(world, flags)?;
        let server = vps.start().await?;
        let laptop = Laptop::new(world, "ana", vps.control(), &server.token()?);
        let upstream = Upstream::raw_http(|head| {
            let own = header(head, "host").unwrap_or("none").to_owned();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nServer: secret/1\r\nLocation: http://{own}/login\r\nContent-Length: {}\r\n\r\n{head}",
                head.len()
            );
            Some(answer.into_bytes())
        });
        Ok(Self { vps, laptop, upstream: upstream.await?, _server: server.process })
    }

    async fn publish(&self, flags: &[&str]) -> Outcome<(Process, Online)> {
        self.publish_at(self.upstream.address(), flags).await
    }

    async fn publish_at(&self, upstream: SocketAddr, flags: &[&str]) -> Outcome<(Process, Online)> {
        let mut process = self.laptop.start("http", upstream, flags)?;
        let online = Online::wait(&mut process, 0).await?;
        Ok((process, online))
    }

    async fn ask(&self, online: &Online, fields: &[&str]) -> Outcome<Answer> {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let mut visitor = Visitor::connect(self.vps.web()).await?;
        let request =
            format!("GET /x HTTP/1.1\r\nHost: {}\r\n{fields}Connection: close\r\n\r\n", online.host());
        visitor.send(request).await?;
        Ok(within("an answer", visitor.answer()).await??)
    }

    async fn expect(&self, online: &Online, fields: &[&str], status: u16, code: &str) -> Outcome<Answer> {
        let answer = self.ask(online, fields).await?;
        let said = header(&answer.head, "tunnel-error").unwrap_or("");
        check!(
            answer.status == status && said == code,
            "{fields:?}: {} and `{said}`, not {status} and `{code}`",
            answer.status
        );
        Ok(answer)
    }
}

async fn logins(world: Arc<World>) -> Outcome<String> {
    let stage = Stage::new(&world, &[]).await?;
    let file = world.path("logins");
    fs::write(&file, "bo:other\nann:s3cret\n")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    let file = file.display().to_string();
    let mut warned = 0;
    for flags in [["--basic-auth", "ann:s3cret"], ["--basic-auth-file", &file]] {
        let (client, online) = stage.publish(&flags).await?;
        let answer = stage.expect(&online, &[], 401, "auth-required").await?;
        let challenge = header(&answer.head, "www-authenticate").unwrap_or("");
        check!(challenge.starts_with("Basic realm="), "no challenge: {}", answer.head);
        stage.expect(&online, &["Authorization: Basic YW5uOm5v"], 401, "auth-required").await?;
        let answer = stage.expect(&online, &[LOGIN], 200, "").await?;
        let seen = String::from_utf8_lossy(&answer.body).to_lowercase();
        check!(!seen.contains("authorization"), "the upstream sees the login: {seen}");
        warned += client.lines().iter().filter(|line| line.text.contains("--basic-auth-file")).count();
        check!(
            !client.lines().iter().any(|line| line.text.contains("s3cret")),
            "a password is in the output"
        );
        client.stop().await?;
    }
    check!(warned == 1, "{warned} warnings for one password on a command line");
    Ok("401 without, 200 with".into())
}

async fn addresses(world: Arc<World>) -> Outcome<String> {
    let stage = Stage::new(&world, &["--trusted-proxy", "127.0.0.0/8"]).await?;
    let flags = ["--allow-cidr", "192.0.2.0/24,2001:db8::/32", "--deny-cidr", "192.0.2.13"];
    let (client, online) = stage.publish(&flags).await?;
    for (visitor, status) in
        [("192.0.2.1", 200), ("2001:db8::1", 200), ("192.0.2.13", 403), ("203.0.113.1", 403)]
    {
        let code = if status == 200 { "" } else { "address-not-allowed" };
        stage.expect(&online, &[&format!("X-Forwarded-For: {visitor}")], status, code).await?;
    }
    client.stop().await?;
    let (client, online) = stage.publish(&["--rate-limit", "2/h"]).await?;
    for status in [200, 200, 429] {
        let code = if status == 200 { "" } else { "rate-limited" };
        let answer = stage.expect(&online, &["X-Forwarded-For: 192.0.2.1"], status, code).await?;
        check!(header(&answer.head, "retry-after").is_some() == (status == 429), "{}", answer.head);
    }
    stage.expect(&online, &["X-Forwarded-For: 192.0.2.2"], 200, "").await?;
    client.stop().await?;

    let echo = Upstream::speaks_first(b"hello").await?;
    for (flags, served) in [(["--rate-limit", "1/h"], 1), (["--deny-cidr", "127.0.0.1"], 0)] {
        let mut client = stage.laptop.start("tcp", echo.address(), &flags)?;
        let online = Online::wait(&mut client, 0).await?;
        let port: u16 = online.url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        for n in 0..2 {
            let greeted = async { Visitor::connect(([127, 0, 0, 1], port).into()).await?.exactly(5).await };
            let greeted = within("a greeting or a reset", greeted).await?;
            check!(greeted.is_ok() == (n < served), "{flags:?}, connection {n}: {greeted:?}");
        }
        client.stop().await?;
    }
    Ok("403, 429, resets".into())
}

async fn headers(world: Arc<World>) -> Outcome<String> {
    let stage = Stage::new(&world, &[]).await?;
    let flags = [
        ["--request-header", "X-Env: demo"],
        ["--request-header", "-X-Debug"],
        ["--response-header", "-Server"],
        ["--response-header", "X-Robots-Tag: none"],
        ["--host-header", "rewrite"],
    ];
    let (client, online) = stage.publish(&flags.concat()).await?;
    let public = format!("http://{}", online.host());
    let fields = ["X-Debug: 1".to_owned(), format!("Origin: {public}"), format!("Referer: {public}/y")];
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let answer = stage.expect(&online, &fields, 200, "").await?;
    let seen = String::from_utf8_lossy(&answer.body).into_owned();
    let own = stage.upstream.target();
    for (name, expected) in [
        ("host", Some(own.as_str())),
        ("origin", Some(&format!("http://{own}"))),
        ("referer", Some(&format!("http://{own}/y"))),
        ("x-env", Some("demo")),
        ("x-debug", None),
        ("x-forwarded-host", None),
    ] {
        check!(header(&seen, name) == expected, "the upstream sees `{name}: {:?}`", header(&seen, name));
    }
    for (name, expected) in [
        ("server", None),
        ("x-robots-tag", Some("none")),
        ("location", Some(format!("{public}/login").as_str())),
    ] {
        check!(
            header(&answer.head, name) == expected,
            "the visitor sees `{name}: {:?}`",
            header(&answer.head, name)
        );
    }
    client.stop().await?;
    let (client, online) = stage.publish(&["--host-header", "shop.test"]).await?;
    let answer = stage.expect(&online, &[], 200, "").await?;
    let seen = String::from_utf8_lossy(&answer.body).into_owned();
    check!(header(&seen, "host") == Some("shop.test"), "{seen}");
    client.stop().await?;
    Ok("both ways".into())
}

async fn development_servers(world: Arc<World>) -> Outcome<String> {
    let stage = Stage::new(&world, &[]).await?;
    let dev = Upstream::raw_http(|head| {
        let host = header(head, "host")?;
        let (status, body) = if host.starts_with("127.0.0.1") {
            ("200 OK", "hello".to_owned())
        } else {
            ("403 Forbidden", format!("Blocked request. This host (\"{host}\") is not allowed.\n"))
        };
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
        Some((head + &body).into_bytes())
    });
    let dev = dev.await?;
    let (mut client, online) = stage.publish_at(dev.address(), &[]).await?;
    for _ in 0..3 {
        let answer = stage.expect(&online, &[], 403, "upstream-host-refused").await?;
        let page = String::from_utf8_lossy(&answer.body).into_owned();
        check!(page.contains("--host-header rewrite") && page.contains("Vite"), "{page}");
    }
    let (hint, _) = client.event(0, "hint").await?;
    let hints = client.lines().iter().filter(|line| line.text.contains("\"hint\"")).count();
    check!(hints == 1, "{hints} hints");
    client.stop().await?;
    let (client, online) = stage.publish_at(dev.address(), &["--host-header", "rewrite"]).await?;
    let answer = stage.expect(&online, &[], 200, "").await?;
    check!(answer.body == b"hello", "{answer:?}");
    client.stop().await?;
    Ok(format!("`{}`", hint["message"].as_str().unwrap_or("")))
}

async fn nonsense(world: Arc<World>) -> Outcome<String> {
    let stage = Stage::new(&world, &[]).await?;
    let at = stage.upstream.address();
    let empty = world.path("empty");
    fs::write(&empty, "\n")?;
    let empty = empty.display().to_string();
    let mut tried = 0;
    for flags in [
        ["--basic-auth", "ann"],
        ["--basic-auth-file", &empty],
        ["--allow-cidr", "10.0.0.0/33"],
        ["--deny-cidr", "localhost"],
        ["--rate-limit", "100"],
        ["--bandwidth", "10mb/s"],
        ["--expire", "soon"],
        ["--host-header", "http://localhost"],
        ["--request-header", "Host: x"],
        ["--request-header", "X A: b"],
        ["--response-header", "-Connection"],
        ["--proxy-protocol", "v3"],
    ] {
        let ended = world.run(stage.laptop.command("http", at, &flags)).await?;
        check!(matches!(ended.status, Some(1 | 2)), "{flags:?}: {ended:?}");
        check!(!ended.stderr.is_empty() && ended.stdout.is_empty(), "{flags:?}: {ended:?}");
        tried += 1;
    }
    let ended = world.run(stage.laptop.command("tcp", at, &["--basic-auth", "ann:s3cret"])).await?;
    check!(ended.status == Some(2), "`tcp` takes --basic-auth: {ended:?}");
    Ok(format!("{tried} ways"))
}
