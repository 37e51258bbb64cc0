//! A day of a server in small: visitors of every kind at once, each of them answered right.
//!
//! The long day is also what `cargo xtask dist` learns from. A compiler takes what isn't done here for rare, and makes
//! it small instead of fast: whatever visitors do all day belongs here.

mod visitors;

use std::{net::SocketAddr, sync::Arc};

use tunnel_testkit::Upstream;
use tunnel_transport::generate_self_signed;

use self::visitors::Visitors;
use super::{
    bulk::{self, DOWN, MIB, UP},
    live::echo_after_upgrade,
    udp,
};
use crate::harness::{Fault, Laptop, Online, Outcome, Server, Vps, World};

super::scenarios! {
    "a busy day: every kind of visitor at once, over a session with TLS" => over_tls,
    "a busy day: every kind of visitor at once, over a session without TLS" => in_plaintext,
}

async fn over_tls(world: Arc<World>) -> Outcome<String> {
    day(&world, false).await
}

async fn in_plaintext(world: Arc<World>) -> Outcome<String> {
    day(&world, true).await
}

async fn day(world: &Arc<World>, plaintext: bool) -> Outcome<String> {
    let place = Place::open(world, plaintext).await?;
    let length = world.pick(MIB, 128 * MIB);
    let laptop = &place.laptop;

    let hello = Upstream::hello("site").await?;
    let (site, online) = laptop.http(hello.address(), "site").await?;
    let site_host = host(&online)?;
    let service = Upstream::start(move |stream| async move {
        // The visitor sees what went wrong by an answer that is missing.
        let _ = bulk::answer_http(stream, length).await;
    });
    let service = service.await?;
    let (files, online) = laptop.http(service.address(), "files").await?;
    let files_host = host(&online)?;
    let upgraded = Upstream::start(|stream| async move {
        let _ = echo_after_upgrade(stream).await;
    });
    let upgraded = upgraded.await?;
    let (chat, online) = laptop.http(upgraded.address(), "chat").await?;
    let chat_host = host(&online)?;
    let echo = Upstream::echo().await?;
    let (talk, talk_address) = laptop.tcp(echo.address()).await?;
    let both = Upstream::start(move |stream| async move {
        let _ = bulk::both_ways(stream, (DOWN, UP), length).await;
    });
    let both = both.await?;
    let (copy, copy_address) = laptop.tcp(both.address()).await?;
    let names = udp::Service::new(|datagram, _| datagram.to_vec()).await?;
    let mut lookups = laptop.start("udp", names.address, &[])?;
    let udp_address = address(&Online::wait(&mut lookups, 0).await?)?;

    let visitors = Visitors {
        each: world.pick(5, 500),
        length,
        web: place.vps.web(),
        https: place.server.https()?,
        trusted: place.certificate.clone(),
        hosts: [site_host, files_host, chat_host],
        talk: talk_address,
        copy: copy_address,
        udp: udp_address,
    };
    let answered = visitors.come().await?;

    // In good order: whoever ends so has time for last words.
    for client in [site, files, chat, talk, copy, lookups] {
        client.stop().await?;
    }
    place.server.process.stop().await?;
    Ok(format!("{answered} exchanges answered, {} MiB each way by each of {}", length / MIB, visitors::BULKY))
}

/// A server with everything that visitors can come by, and a laptop.
struct Place {
    vps: Vps,
    server: Server,
    laptop: Laptop,
    /// What visitors with TLS trust it by.
    certificate: String,
}

impl Place {
    async fn open(world: &Arc<World>, plaintext: bool) -> Outcome<Self> {
        let pair = generate_self_signed(&["*.t.localhost".to_owned()])?;
        let (cert, key) = (world.path("web.crt"), world.path("web.key"));
        std::fs::write(&cert, &pair.cert_pem)?;
        std::fs::write(&key, &pair.key_pem)?;
        let [cert, key] = [cert, key].map(|path| path.display().to_string());
        let udp_ports = udp::some_ports()?;
        let mut flags = vec!["--domain", "t.localhost", "--https-port", "0", "--cert", &cert, "--key", &key];
        flags.extend(["--udp-ports", &udp_ports]);
        flags.extend(plaintext.then_some("--plaintext"));
        let mut vps = Vps::new(world, &flags)?;
        let server = vps.start().await?;
        let mut laptop = Laptop::new(world, "laptop", vps.control(), &server.token()?);
        if plaintext {
            laptop.set("TUNNEL_PLAINTEXT", "1");
        }
        Ok(Self { vps, server, laptop, certificate: pair.cert_pem })
    }
}

/// The host of a web tunnel, without a port.
fn host(online: &Online) -> Outcome<String> {
    let host = online.url.split("://").nth(1).and_then(|rest| rest.split(':').next());
    host.map(str::to_owned).ok_or(Fault::new(format!("no host in `{}`", online.url)))
}

/// Where visitors of a tunnel with a port of its own send to.
fn address(online: &Online) -> Outcome<SocketAddr> {
    let port = online.url.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    port.map(|port| ([127, 0, 0, 1], port).into()).ok_or(Fault::new(format!("no port in `{}`", online.url)))
}
