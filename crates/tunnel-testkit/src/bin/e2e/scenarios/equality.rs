//! What visitors see through the tunnel equals what they see without it: status, fields, bytes, order, trailers, and
//! whether the end was one. The same requests are sent to the service itself and through the tunnel in each of the
//! four ways, and every difference that docs/REFERENCE.md doesn't name is a failure.

mod cases;
mod seen;
mod service;

use std::{net::SocketAddr, os::unix::fs::PermissionsExt, sync::Arc};

use tokio::{net::TcpStream, sync::Semaphore};
use tunnel_transport::{UpstreamTls, UpstreamTrust, generate_self_signed};

use self::{
    cases::{Case, all},
    seen::{Seen, ask_new, ask_old},
};
use crate::harness::{Http2, Laptop, Online, Outcome, Vps, World, check, within};

super::scenarios! {
    "what visitors see through the tunnel equals what they see without it" => equal,
    "the files of a directory are the same over every version of HTTP" => files,
}

/// How visitors get to a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Http1,
    Http1Tls,
    Http2,
    Http2Tls,
}

const WAYS: [Way; 4] = [Way::Http1, Way::Http1Tls, Way::Http2, Way::Http2Tls];

/// The server's two doors.
#[derive(Debug)]
struct Doors {
    web: SocketAddr,
    https: SocketAddr,
    certificate: String,
}

impl Doors {
    async fn open(world: &Arc<World>) -> Outcome<(Self, Vps, crate::harness::Process)> {
        let pair = generate_self_signed(&["*.t.localhost".to_owned()])?;
        let (cert, key) = (world.path("site.crt"), world.path("site.key"));
        std::fs::write(&cert, &pair.cert_pem)?;
        std::fs::write(&key, &pair.key_pem)?;
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        let flags = ["--domain", "t.localhost", "--https-port", "0", "--cert", &cert, "--key", &key];
        let mut vps = Vps::new(world, &flags)?;
        let server = vps.start().await?;
        let doors = Self { web: vps.web(), https: server.https()?, certificate: pair.cert_pem.clone() };
        Ok((doors, vps, server.process))
    }

    async fn ask(&self, way: Way, host: &str, case: &Case, progress: &Semaphore) -> Outcome<Seen> {
        match way {
            Way::Http1 => ask_old(TcpStream::connect(self.web).await?, host, case, progress).await,
            Way::Http1Tls => {
                let trust = UpstreamTrust::CaFile(self.certificate.clone().into_bytes());
                let tls = UpstreamTls::new(&trust, &[b"http/1.1"])?;
                let stream = tls.connect(host, TcpStream::connect(self.https).await?).await?;
                ask_old(stream, host, case, progress).await
            }
            Way::Http2 => ask_new(&Http2::connect(self.web).await?, "http", host, case, progress).await,
            Way::Http2Tls => {
                let visitor = Http2::connect_tls(self.https, host, &self.certificate).await?;
                ask_new(&visitor, "https", host, case, progress).await
            }
        }
    }
}

async fn equal(world: Arc<World>) -> Outcome<String> {
    let (doors, vps, _server) = Doors::open(&world).await?;
    let progress = Arc::new(Semaphore::new(0));
    let service = service::start(progress.clone()).await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &vps.token("ana").await?);
    let mut client = laptop.start("http", service.address(), &["--subdomain", "site"])?;
    Online::wait(&mut client, 0).await?;
    let (mut different, mut compared) = (Vec::new(), 0);
    for case in all() {
        progress.forget_permits(usize::MAX);
        let direct = TcpStream::connect(service.address()).await?;
        let direct = within(case.name, ask_old(direct, "site.t.localhost", &case, &progress)).await??;
        for way in WAYS.into_iter().filter(|way| case.is_for(*way)) {
            progress.forget_permits(usize::MAX);
            let asked = doors.ask(way, "site.t.localhost", &case, &progress);
            let seen = match within(case.name, asked).await {
                Ok(Ok(seen)) => seen,
                Ok(Err(fault)) | Err(fault) => {
                    different.push(format!("{} by {way:?}: {fault}", case.name));
                    continue;
                }
            };
            compared += 1;
            let differences = direct.differences(&seen, way);
            different.extend(differences.iter().map(|text| format!("{} by {way:?}: {text}", case.name)));
        }
    }
    check!(different.is_empty(), "{} differences: {different:#?}", different.len());
    Ok(format!("{} requests, {compared} comparisons, no difference that isn't documented", all().len()))
}

async fn files(world: Arc<World>) -> Outcome<String> {
    let (doors, vps, _server) = Doors::open(&world).await?;
    let site = world.path("site");
    std::fs::create_dir(&site)?;
    std::fs::write(site.join("index.html"), "<p>home</p>")?;
    std::fs::write(site.join("data.bin"), (0..=255).cycle().take(100_000).collect::<Vec<u8>>())?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &vps.token("ana").await?);
    let mut client = laptop.start("http", site.display(), &["--subdomain", "site"])?;
    Online::wait(&mut client, 0).await?;
    let progress = Semaphore::new(0);
    let mut told = Vec::new();
    for (case, status) in cases::of_files() {
        let mut first: Option<Seen> = None;
        for way in WAYS {
            let seen = within(case.name, doors.ask(way, "site.t.localhost", &case, &progress)).await??;
            check!(seen.status == status, "{} by {way:?} got {}", case.name, seen.status);
            match &first {
                None => first = Some(seen),
                Some(first) => {
                    let differences = first.differences(&seen, way);
                    check!(differences.is_empty(), "{} by {way:?}: {differences:?}", case.name);
                }
            }
        }
        told.push(status.to_string());
    }
    Ok(format!("answers {}, four ways each", told.join(", ")))
}
