//! Datagrams through a UDP tunnel, with a real program where there is one.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::{net::UdpSocket, task::JoinSet};

use crate::harness::{Fault, Laptop, Online, Outcome, Process, Vps, World, check, within};

super::scenarios! {
    "names are looked up through a UDP tunnel" => names,
    "datagrams of all sizes come back, up to the largest there are" => sizes,
    "a visitor that is quiet for --udp-idle is forgotten, and one that talks is not pushed out" => flows,
    "no more is sent to a visitor than --udp-answer-ratio allows" => ratio,
}

/// A UDP service on this machine that makes of each datagram, and its sender, an answer.
pub(super) struct Service {
    pub(super) address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Service {
    pub(super) async fn new(answer: fn(&[u8], SocketAddr) -> Vec<u8>) -> Outcome<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut datagram = vec![0; 65_536];
            while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
                let _ = socket.send_to(&answer(&datagram[..length], from), from).await;
            }
        });
        Ok(Self { address, _serving: serving })
    }
}

/// A server, a UDP tunnel to a service, and where its visitors send to.
struct Stage {
    tunnel: SocketAddr,
    _service: Service,
    _client: Process,
    _server: Process,
}

impl Stage {
    async fn new(
        world: &Arc<World>,
        flags: &[&str],
        answer: fn(&[u8], SocketAddr) -> Vec<u8>,
    ) -> Outcome<Self> {
        let ports = some_ports()?;
        let mut vps = Vps::new(world, &[&["--udp-ports", &ports], flags].concat())?;
        let server = vps.start().await?;
        let laptop = Laptop::new(world, "laptop", vps.control(), &server.token()?);
        let service = Service::new(answer).await?;
        let mut client = laptop.start("udp", service.address, &[])?;
        let online = Online::wait(&mut client, 0).await?;
        let port = online.url.rsplit(':').next().and_then(|port| port.parse().ok());
        let port: u16 = port.ok_or(Fault::new(format!("no port in `{}`", online.url)))?;
        let tunnel = ([127, 0, 0, 1], port).into();
        Ok(Self { tunnel, _service: service, _client: client, _server: server.process })
    }

    async fn visitor(&self) -> Outcome<UdpSocket> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(self.tunnel).await?;
        Ok(socket)
    }
}

/// A range of ports for UDP tunnels, as a server is given it; below those that the system gives out itself.
pub(super) fn some_ports() -> Outcome<String> {
    let mut random = [0; 2];
    getrandom::fill(&mut random)?;
    let first = 20_000 + u16::from_be_bytes(random) % 100 * 100;
    Ok(format!("{first}-{}", first + 99))
}

/// Asks until there is an answer, as whoever uses datagrams must.
pub(super) async fn ask(visitor: &UdpSocket, question: &[u8]) -> Outcome<Vec<u8>> {
    let mut answer = vec![0; 65_536];
    within("an answer", async {
        loop {
            visitor.send(question).await?;
            let heard = tokio::time::timeout(Duration::from_secs(2), visitor.recv(&mut answer)).await;
            if let Ok(length) = heard {
                answer.truncate(length?);
                return Ok(answer);
            }
        }
    })
    .await?
}

/// A DNS server for which every name has the address 192.0.2.53 (RFC 1035 §4).
fn resolve(query: &[u8], _from: SocketAddr) -> Vec<u8> {
    let Some((header, rest)) = query.split_at_checked(12) else { return Vec::new() };
    let Some(end) = rest.iter().position(|byte| *byte == 0) else { return Vec::new() };
    let question = rest.get(..end + 5).unwrap_or_default();
    let record: &[u8] = &[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 53];
    [&header[..2], &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], question, record].concat()
}

async fn names(world: Arc<World>) -> Outcome<String> {
    let stage = Stage::new(&world, &[], resolve).await?;
    let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03app\x07example\x00\x00\x01\x00\x01";
    let answer = ask(&stage.visitor().await?, query).await?;
    check!(answer.starts_with(b"\x12\x34") && answer.ends_with(&[192, 0, 2, 53]), "{answer:?}");
    let dig = Path::new("/usr/bin/dig");
    if !dig.exists() {
        return Ok("by hand, as there is no `dig` here".into());
    }
    let mut command = world.command(dig, "visitor");
    command.args(["+short", "+tries=5", "@127.0.0.1", "-p", &stage.tunnel.port().to_string(), "app.example"]);
    let ended = world.run(command).await?;
    check!(ended.stdout.trim() == "192.0.2.53", "dig: {ended:?}");
    Ok("by `dig` as well".into())
}

async fn sizes(world: Arc<World>) -> Outcome<String> {
    let stage = Stage::new(&world, &[], |datagram, _| datagram.to_vec()).await?;
    let visitor = stage.visitor().await?;
    for size in [0, 1, 512, 1_472, 9_000, 65_506, 65_507] {
        let sent: Vec<u8> =
            (0..size).map(|index: usize| index.to_le_bytes()[0] ^ size.to_le_bytes()[0]).collect();
        let back = ask(&visitor, &sent).await?;
        check!(back == sent, "{} bytes came back of {size}, or others", back.len());
    }
    Ok("up to 65,507 bytes".into())
}

async fn flows(world: Arc<World>) -> Outcome<String> {
    // The service sees each flow as a sender of its own.
    let who = |_: &[u8], from: SocketAddr| from.to_string().into_bytes();
    let stage = Stage::new(&world, &["--udp-idle", "5s"], who).await?;
    let mut talking = Vec::new();
    for _ in 0..64 {
        let visitor = stage.visitor().await?;
        let first = ask(&visitor, b"?").await?;
        check!(ask(&visitor, b"?").await? == first, "a flow changed under way");
        talking.push((visitor, first));
    }
    let (quiet, before) = talking.pop().ok_or(Fault::new("there are 64"))?;
    // From one address 64 flows are let in, and none of those gives way to the next ones.
    let strangers = UdpSocket::bind("127.0.0.1:0").await?;
    for _ in 0..10 {
        strangers.send_to(b"?", stage.tunnel).await?;
    }
    for (visitor, former) in &talking {
        check!(ask(visitor, b"?").await? == *former, "one that talks was pushed out");
    }
    // sleep: the time after which a quiet visitor is forgotten, and the second that a sweep may be late
    tokio::time::sleep(Duration::from_millis(6_500)).await;
    let after = ask(&quiet, b"?").await?;
    check!(after != before, "it has the same flow after 6.5 s of silence");
    Ok("a flow that was quiet began anew".into())
}

async fn ratio(world: Arc<World>) -> Outcome<String> {
    // Answers as many bytes as it is told.
    let much =
        |question: &[u8], _: SocketAddr| vec![7; question.first().map_or(0, |tens| usize::from(*tens) * 10)];
    let stage = Stage::new(&world, &["--udp-answer-ratio", "3"], much).await?;
    let visitor = stage.visitor().await?;
    let mut question = [0; 100];
    question[0] = 10;
    check!(ask(&visitor, &question).await?.len() == 100, "an answer of the question's size");
    // 2,000 bytes for 100 are too many, and so is each of those that follow.
    let greedy = stage.visitor().await?;
    question[0] = 200;
    let mut heard = [0; 4096];
    for _ in 0..3 {
        greedy.send(&question).await?;
    }
    // A datagram behind them that comes back: what was to come before it has come.
    check!(ask(&visitor, &[5; 100]).await?.len() == 50, "the other flow goes on");
    let greedy = greedy.try_recv(&mut heard);
    check!(greedy.is_err(), "{greedy:?} bytes for 300");
    Ok("20 bytes for one were not sent".into())
}
