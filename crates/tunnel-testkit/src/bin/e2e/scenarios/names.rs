//! A name belongs to its owner, also while the owner is away.

use std::sync::Arc;

use tunnel_client::{BindError, Client, Code};
use tunnel_protocol::Token;
use tunnel_testkit::{Upstream, Visitor};

use crate::harness::{Fault, Laptop, Outcome, Told, Vps, World, check, within};

super::scenarios! {
    "nobody else gets a name in 1,000 tries while its owner is away" => held_name,
}

const TRIES: usize = 1_000;
/// How many tries are made in one login.
const PER_SESSION: usize = 50;

async fn held_name(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &["--lease", "10m"])?;
    let mut server = vps.start().await?;
    let upstream = Upstream::hello("ana's").await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &vps.token("ana").await?);
    let (client, online) = laptop.http(upstream.address(), "myapp").await?;
    let (tcp, port) = laptop.tcp(upstream.address()).await?;
    let thief: Token = vps.token("ben").await?.parse()?;
    client.kill().await?;
    tcp.kill().await?;
    let mut refused = 0;
    for session in 0..TRIES / PER_SESSION {
        if session == TRIES / PER_SESSION / 2 {
            // Nor from a server that has just come back and knows the name from its file.
            server.process.kill().await?;
            server = vps.start().await?;
        }
        let client = Client::builder(vps.control().to_string()).token(thief.clone());
        let client = within("a login", client.connect()).await?.told("the other token's login")?;
        for number in 0..PER_SESSION {
            let bound = match number % 2 {
                0 => client.http().subdomain("myapp").forward(upstream.target()).await,
                _ => client.tcp().remote_port(port.port()).forward(upstream.target()).await,
            };
            match bound {
                Err(BindError::Refused(refusal))
                    if matches!(refusal.code, Code::NameTaken | Code::PortTaken) =>
                {
                    refused += 1;
                }
                Err(error) => return Err(Fault::new(format!("another refusal after {refused}: {error}"))),
                Ok(tunnel) => return Err(Fault::new(format!("try {refused} got {}", tunnel.url()))),
            }
        }
    }
    let (_client, now) = laptop.http(upstream.address(), "myapp").await?;
    let (_tcp, port_now) = laptop.tcp(upstream.address()).await?;
    check!((&now.url, port_now) == (&online.url, port), "the owner is back as {} and {port_now}", now.url);
    let answer = within("a page", Visitor::get(vps.web(), now.host(), "/")).await??;
    check!(answer.body.starts_with(b"ana's"), "answered by somebody else");
    Ok(format!("{refused} tries refused, half of them after a crash of the server; the owner is back"))
}
