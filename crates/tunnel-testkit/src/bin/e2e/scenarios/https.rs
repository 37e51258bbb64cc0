//! TLS towards visitors: flags, files and what they change.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tunnel_testkit::{Answer, Upstream, Visitor, header};
use tunnel_transport::{
    CertStore, ServerKeyPair, UpstreamTls, UpstreamTlsStream, UpstreamTrust, WebCertificate, WebTls,
    generate_self_signed,
};

use super::refusals::is_one_line;
use crate::harness::{Fault, Laptop, Outcome, Vps, World, check, within};

super::scenarios! {
    "https works as the flags say, and the plain port sends visitors on" => flags,
    "certificates that can't be used are refused at the start, in one line" => bad_files,
    "a renewed certificate is shown without a restart, and a bad one isn't" => renewal,
    "a TLS tunnel's visitors see its upstream's certificate, and none of the server's" => passthrough,
}

type TlsVisitor = Visitor<UpstreamTlsStream<TcpStream>>;

/// A key pair's files, and what a visitor trusts them by.
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    /// Writes a fresh pair.
    fn new(world: &World, name: &str, hosts: &[&str]) -> Outcome<(Self, ServerKeyPair)> {
        let files =
            Self { cert: world.path(&format!("{name}.crt")), key: world.path(&format!("{name}.key")) };
        let pair = keys(hosts)?;
        files.write(&pair)?;
        Ok((files, pair))
    }

    fn write(&self, pair: &ServerKeyPair) -> io::Result<()> {
        fs::write(&self.cert, &pair.cert_pem)?;
        fs::write(&self.key, &pair.key_pem)
    }

    fn flags(&self) -> [String; 4] {
        ["--cert".into(), text(&self.cert), "--key".into(), text(&self.key)]
    }
}

fn keys(hosts: &[&str]) -> Outcome<ServerKeyPair> {
    Ok(generate_self_signed(&hosts.iter().map(ToString::to_string).collect::<Vec<_>>())?)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn vps(world: &Arc<World>, flags: &[String]) -> Outcome<Vps> {
    let all = ["--domain", "t.localhost", "--https-port", "0"].into_iter();
    Vps::new(world, &all.chain(flags.iter().map(String::as_str)).collect::<Vec<_>>())
}

async fn connect(address: SocketAddr, host: &str, trusted: &str) -> Outcome<TlsVisitor> {
    Ok(within("TLS", TlsVisitor::connect_tls(address, host, trusted.as_bytes())).await??)
}

async fn ask(visitor: &mut TlsVisitor, host: &str) -> Outcome<Answer> {
    visitor.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await?;
    Ok(within("an answer", visitor.answer()).await??)
}

async fn flags(world: Arc<World>) -> Outcome<String> {
    let (wild, wild_pair) = Files::new(&world, "wild", &["*.t.localhost"])?;
    let (exact, exact_pair) = Files::new(&world, "exact", &["b.t.localhost"])?;
    let more = ["--redirect-https", "--https-url-port", "443"].map(Into::into);
    let mut vps = vps(&world, &[&wild.flags()[..], &exact.flags(), &more].concat())?;
    let server = vps.start().await?;
    let https = server.https()?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let (_a, a) = laptop.http(upstream.address(), "a").await?;
    let (_b, _) = laptop.http(upstream.address(), "b").await?;
    check!(a.url == "https://a.t.localhost", "the address is {}", a.url);
    for (host, trusted) in [("a.t.localhost", &wild_pair), ("b.t.localhost", &exact_pair)] {
        let mut visitor = connect(https, host, &trusted.cert_pem).await?;
        for _ in 0..2 {
            let answer = ask(&mut visitor, host).await?;
            check!(answer.status == 200 && answer.body.starts_with(b"site / "), "{}", answer.head);
        }
    }
    let sent_on = within("an answer", Visitor::get(vps.web(), "a.t.localhost", "/x?y")).await??;
    let location = header(&sent_on.head, "location");
    check!(sent_on.status == 308 && location == Some("https://a.t.localhost/x?y"), "{}", sent_on.head);
    let plain = within("an answer", Visitor::get(https, "a.t.localhost", "/")).await??;
    check!(plain.status == 400, "http at the https port: {}", plain.head);

    // Another token's tunnel is not to be had on a connection for this one's.
    let ben = Laptop::new(&world, "ben", vps.control(), &vps.token("ben").await?);
    let (_c, _) = ben.http(upstream.address(), "c").await?;
    let mut visitor = connect(https, "a.t.localhost", &wild_pair.cert_pem).await?;
    let (own, other) = (ask(&mut visitor, "b.t.localhost").await?, ask(&mut visitor, "c.t.localhost").await?);
    check!(own.status == 200 && other.status == 421, "{} and {}", own.status, other.status);
    Ok(format!("{}; {} for what came without TLS, 421 for another's host", a.url, sent_on.status))
}

async fn bad_files(world: Arc<World>) -> Outcome<String> {
    let (one, pair) = Files::new(&world, "one", &["a.test"])?;
    let (other, _) = Files::new(&world, "other", &["a.test"])?;
    let data = text(&world.path("data"));
    let start = |flags: &[String]| {
        let mut command = world.tunnel("vps", ["server", "--bind", "127.0.0.1", "--data-dir", &data]);
        command.args(["--control-port", "0", "--public-port", "0"]).args(flags);
        command
    };
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let mut told = String::new();
    for (cert, key, parts) in [
        (Some(&*pair.cert_pem), None, ["cannot read", "one.key"]),
        (Some(&pair.cert_pem), Some("garbage"), ["one.key", "not valid PEM"]),
        (Some("garbage"), Some(&pair.key_pem), ["one.crt", "holds no certificate"]),
        (Some(&pair.cert_pem), Some(encrypted), ["one.key", "openssl pkey"]),
        (Some(&pair.cert_pem), Some(&*fs::read_to_string(&other.key)?), ["one.key", "does not belong"]),
    ] {
        for (path, content) in [(&one.cert, cert), (&one.key, key)] {
            let _ = fs::remove_file(path);
            content.map(|content| fs::write(path, content)).transpose()?;
        }
        let flags = [&one.flags()[..], &["--https-port", "0"].map(Into::into)].concat();
        let ended = world.run(start(&flags)).await?;
        is_one_line(&ended, 1, &parts)?;
        told = ended.stderr.trim().replace(&text(&world.path("")), "");
    }
    for flags in [
        &["--cert", "a"][..],
        &["--key", "a"],
        &["--cert", "a", "--key", "a"],
        &["--https-port", "0", "--cert", "a", "--cert", "b", "--key", "c"],
        &["--https-port", "0", "--redirect-https"],
        &["--https-url-port", "443"],
    ] {
        let ended = world.run(start(&flags.iter().map(ToString::to_string).collect::<Vec<_>>())).await?;
        check!(ended.status == Some(2), "{flags:?}: {ended:?}");
    }
    Ok(format!("`{told}`"))
}

async fn renewal(world: Arc<World>) -> Outcome<String> {
    let (files, first) = Files::new(&world, "site", &["*.t.localhost"])?;
    let mut vps = vps(&world, &files.flags())?;
    let mut server = vps.start().await?;
    let https = server.https()?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let (_client, _) = laptop.http(upstream.address(), "a").await?;
    let host = "a.t.localhost";
    let mut old = connect(https, host, &first.cert_pem).await?;
    check!(ask(&mut old, host).await?.status == 200, "the first certificate doesn't work");

    // One file after the other, the second one late.
    let second = keys(&["*.t.localhost"])?;
    let mark = server.process.mark();
    fs::write(&files.cert, &second.cert_pem)?;
    server.process.says(mark, "can't be used").await?;
    connect(https, host, &first.cert_pem).await?;
    let mark = server.process.mark();
    fs::write(&files.key, &second.key_pem)?;
    server.process.says(mark, "read again").await?;
    check!(ask(&mut connect(https, host, &second.cert_pem).await?, host).await?.status == 200, "renewed");

    let mark = server.process.mark();
    fs::write(&files.cert, "garbage")?;
    server.process.says(mark, "can't be used").await?;
    connect(https, host, &second.cert_pem).await?;

    // Told to look, it looks at once.
    let third = keys(&["*.t.localhost"])?;
    let mark = server.process.mark();
    files.write(&third)?;
    server.process.signal(Signal::HUP)?;
    server.process.says(mark, "read again").await?;
    check!(
        ask(&mut connect(https, host, &third.cert_pem).await?, host).await?.status == 200,
        "renewed again"
    );
    check!(ask(&mut old, host).await?.status == 200, "the connection from before the renewals has ended");
    server.process.stop().await?;
    Ok("two renewed, a half-written and a bad one left alone, a connection kept over all of it".into())
}

async fn passthrough(world: Arc<World>) -> Outcome<String> {
    let (files, servers) = Files::new(&world, "site", &["*.t.localhost"])?;
    let mut vps = vps(&world, &files.flags())?;
    let server = vps.start().await?;
    let https = server.https()?;
    let pair = keys(&["db.t.localhost"])?;
    let certificate = WebCertificate::from_pem(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes())?;
    let tls = WebTls::new(CertStore::new(&[certificate]))?;
    let upstream = Upstream::start(move |stream| {
        let tls = tls.clone();
        async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let (mut read, mut write) = tokio::io::split(stream);
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        }
    });
    let upstream = upstream.await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let mut client = laptop.start("tls", upstream.address(), &["--subdomain", "db"])?;
    let (event, _) = client.event(0, "online").await?;
    let url = event["url"].as_str().ok_or(Fault::new("`online` has no `url`"))?.to_owned();
    check!(url == format!("tls://db.t.localhost:{}", https.port()), "the address is {url}");

    let connect_raw = async |trusted: &str| -> Outcome<UpstreamTlsStream<TcpStream>> {
        let tls = UpstreamTls::new(&UpstreamTrust::CaFile(trusted.as_bytes().to_vec()), &[])?;
        let stream = TcpStream::connect(https).await?;
        Ok(within("TLS", tls.connect("db.t.localhost", stream)).await??)
    };
    let mut visitor = connect_raw(&pair.cert_pem).await?;
    visitor.write_all(b"for your eyes only").await?;
    visitor.shutdown().await?;
    let mut echoed = String::new();
    within("an echo", visitor.read_to_string(&mut echoed)).await??;
    check!(echoed == "for your eyes only", "`{echoed}`");
    check!(connect_raw(&servers.cert_pem).await.is_err(), "the server showed its own certificate");
    client.stop().await?;

    let token = server.token()?;
    server.process.stop().await?;
    let mut plain = Vps::new(&world, &["--auth", "none"])?;
    let _server = plain.start().await?;
    let laptop = Laptop::new(&world, "ana", plain.control(), &token);
    let refused = world.run(laptop.command("tls", upstream.address(), &["--subdomain", "db"])).await?;
    is_one_line(&refused, 1, &["not-supported", "--https-port"])?;
    Ok(format!("{url}; without an https port: `{}`", refused.stderr.trim()))
}
