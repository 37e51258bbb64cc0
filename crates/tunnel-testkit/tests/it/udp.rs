//! UDP tunnels: datagrams there and back, whose flow they are, and what a flood can't do.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{net::UdpSocket, task::JoinSet, time::timeout};
use tunnel_client::{Client, Event, Tunnel, UdpTunnel};
use tunnel_protocol::{Code, InstanceId};
use tunnel_server::Snapshot;
use tunnel_testkit::{FaultRelay, Site, TestServer};

use crate::support::{PATIENCE, port, until};

/// Longer than a datagram takes on loopback, even on a busy machine; then it is taken for lost and sent again.
const AGAIN: Duration = Duration::from_secs(1);

/// A service that answers each datagram with the same one, several times over if asked to be.
struct Echo {
    address: SocketAddr,
    /// Who asked, of those whose datagrams begin with `live`.
    live: Arc<Mutex<BTreeSet<SocketAddr>>>,
    _serving: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        Self::on(UdpSocket::bind("127.0.0.1:0").await.unwrap(), 1)
    }

    fn on(socket: UdpSocket, times: usize) -> Self {
        let address = socket.local_addr().unwrap();
        let live = Arc::<Mutex<BTreeSet<_>>>::default();
        let seen = live.clone();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut buffer = vec![0; 65_536];
            loop {
                let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
                if buffer[..length].starts_with(b"live") {
                    seen.lock().unwrap().insert(from);
                }
                for _ in 0..times {
                    let _ = socket.send_to(&buffer[..length], from).await;
                }
            }
        });
        Self { address, live, _serving: serving }
    }
}

struct Bench {
    server: TestServer,
    client: Client,
    tunnel: Tunnel,
    echo: Echo,
}

async fn bench(change: impl FnOnce(&mut Site)) -> Bench {
    let mut site = Site::new().unwrap();
    change(&mut site);
    let server = site.start(Vec::new()).unwrap();
    let echo = Echo::start().await;
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.udp().forward(echo.address).await.unwrap();
    Bench { server, client, tunnel, echo }
}

/// A visitor with a socket of its own.
async fn visit(tunnel: &Tunnel) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(("127.0.0.1", port(tunnel))).await.unwrap();
    socket
}

/// Sends until the same comes back: a datagram may be lost on any path.
async fn exchange(visitor: &UdpSocket, datagram: &[u8]) {
    let mut buffer = vec![0; 65_536];
    let exchanging = async {
        loop {
            // Refused for a moment, if the port was just closed.
            let _ = visitor.send(datagram).await;
            match timeout(AGAIN, visitor.recv(&mut buffer)).await {
                Ok(Ok(length)) if buffer[..length] == *datagram => return,
                Ok(Ok(_other)) => {}
                // sleep: the port is not there yet; asked again soon
                Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(_) => {}
            }
        }
    };
    timeout(PATIENCE, exchanging).await.expect("an answer in time");
}

#[tokio::test]
async fn a_port_that_nobody_was_told_of_is_free_when_its_client_ends() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let token = site.token("one");
    for is_left_in_order in [true, false] {
        let client = site.client(&token).connect().await.unwrap();
        let tunnel = client.udp().fleeting(true).forward(port_of_nobody()).await.unwrap();
        until(&server.handle, |now| now.tunnels.len() == 1).await;
        drop(tunnel);
        if is_left_in_order {
            client.drain(PATIENCE).await;
        } else {
            client.close().await;
        }
        until(&server.handle, |now| now.sessions.is_empty()).await;
        assert!(server.handle.tunnel_counts().is_empty(), "{:?}", server.handle.tunnel_counts());
    }
}

/// Where nothing is sent to.
fn port_of_nobody() -> SocketAddr {
    ([127, 0, 0, 1], 9).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_every_size_come_back_equal() {
    let bench = bench(|_| {}).await;
    assert!(bench.tunnel.url().starts_with("udp://test:"), "{}", bench.tunnel.url());
    let visitor = visit(&bench.tunnel).await;
    for length in [1, 1500, 0, 9000, 65_507] {
        let datagram: Vec<u8> = (0..=255).cycle().take(length).collect();
        exchange(&visitor, &datagram).await;
    }
    let now = bench.server.handle.snapshot();
    assert_eq!((now.udp_flows, now.tunnels[0].visitors), (1, 1), "one visitor address, one flow");
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_get_their_own_answers_and_the_upstream_tells_them_apart() {
    let bench = bench(|_| {}).await;
    let mut visits = JoinSet::new();
    for n in 0..30_u16 {
        let visitor = visit(&bench.tunnel).await;
        visits.spawn(async move {
            for turn in 0..20_u16 {
                exchange(&visitor, &[n.to_be_bytes(), turn.to_be_bytes()].concat()).await;
            }
            // Whatever comes late or twice is this visitor's too.
            let mut late = [0; 8];
            while let Ok(length) = visitor.try_recv(&mut late) {
                assert_eq!((length, &late[..2]), (4, &n.to_be_bytes()[..]));
            }
            visitor
        });
    }
    let visitors = visits.join_all().await;
    let now = bench.server.handle.snapshot();
    assert_eq!((now.udp_flows, now.tunnels[0].visitors), (30, 30));
    drop(visitors);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_flow_ends_and_the_next_datagram_begins_another() {
    let bench = bench(|site| site.config.timeouts.udp_idle = Duration::from_millis(300)).await;
    let visitor = visit(&bench.tunnel).await;
    for flows in 1..=3 {
        exchange(&visitor, b"hello").await;
        let over = |now: &Snapshot| {
            let is_gone = now.tunnels[0].visitors == 0 && bench.client.status().visitors == 0;
            // Each lane has a stream of its own, and a machine with much to do may have more than one.
            let has_none = now.sessions[0].streams == now.sessions[0].lanes;
            now.udp_flows == flows && is_gone && has_none
        };
        until(&bench.server.handle, over).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_may_have_so_many_flows_and_those_it_has_go_on() {
    let bench = bench(|site| site.config.limits.udp_flows_per_address = 3).await;
    let mut visitors = Vec::new();
    for _ in 0..3 {
        let visitor = visit(&bench.tunnel).await;
        // The second time it has heard us: no newcomer takes its place.
        exchange(&visitor, b"one").await;
        exchange(&visitor, b"two").await;
        visitors.push(visitor);
    }
    let late = visit(&bench.tunnel).await;
    late.send(b"me too").await.unwrap();
    // The refusal is counted first, and what is dropped by it after.
    let refused = until(&bench.server.handle, |now| now.udp_dropped > 0).await;
    assert_eq!((refused.udp_flows, refused.udp_dropped), (3, 1));
    assert!(refused.refusals.contains_key("too-many-visitors"));
    for visitor in &visitors {
        exchange(visitor, b"three").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_many_addresses_is_bounded_and_a_flow_in_use_does_not_notice() {
    const FLOWS: usize = 50;
    let bench = bench(|site| {
        site.config.limits.udp_flows_per_tunnel = FLOWS;
        site.config.limits.udp_flows_per_address = 20;
    })
    .await;
    let live = visit(&bench.tunnel).await;
    exchange(&live, b"live one").await;
    exchange(&live, b"live two").await;
    let first = bench.server.handle.snapshot().udp_received;
    for n in 0..5_000_u16 {
        // Without a loopback network of many addresses, it is one address with many ports.
        let [a, b] = (n / 10 + 1).to_be_bytes();
        let socket = match UdpSocket::bind((IpAddr::from([127, 1, a, b]), 0)).await {
            Ok(socket) => socket,
            Err(_) => UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        };
        let _ = socket.send_to(b"flood", ("127.0.0.1", port(&bench.tunnel))).await;
        if n % 100 == 0 {
            exchange(&live, format!("live {n}").as_bytes()).await;
            let now = bench.server.handle.snapshot();
            assert!(now.tunnels[0].visitors <= FLOWS, "{now:#?}");
        }
    }
    let now = bench.server.handle.snapshot();
    assert!(now.udp_received > first + 1_000, "the flood arrives: {now:#?}");
    assert!(now.refusals["too-many-visitors"] > 0);
    // Had it been put out even once, it would have begun again from another port.
    assert_eq!(bench.echo.live.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_never_answers_harms_nobody() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let echo = Echo::start().await;
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let quiet = client.udp().forward(silent.local_addr().unwrap()).await.unwrap();
    let tunnel = client.udp().forward(echo.address).await.unwrap();
    let mut unanswered = Vec::new();
    for flows in 1..=20 {
        let visitor = visit(&quiet).await;
        for _ in 0..50 {
            visitor.send(&[0; 1000]).await.unwrap();
        }
        // The system may have dropped all fifty.
        while server.handle.snapshot().udp_flows < flows {
            visitor.send(&[0; 1000]).await.unwrap();
            tokio::task::yield_now().await;
        }
        unanswered.push(visitor);
    }
    let visitor = visit(&tunnel).await;
    exchange(&visitor, b"ping").await;
    let mut buffer = [0; 2000];
    assert_eq!(silent.recv(&mut buffer).await.unwrap(), 1000);
    assert_eq!(server.handle.snapshot().udp_flows, 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_sends_more_than_anybody_takes_does_not_delay_another() {
    let bench = bench(|_| {}).await;
    let flood = visit(&bench.tunnel).await;
    let mut flooding = JoinSet::new();
    flooding.spawn(async move {
        let datagram = vec![0; 60_000];
        loop {
            let _ = flood.send(&datagram).await;
            tokio::task::yield_now().await;
        }
    });
    until(&bench.server.handle, |now| now.udp_received > 100).await;
    let visitor = visit(&bench.tunnel).await;
    for n in 0..50_u8 {
        exchange(&visitor, &[n]).await;
    }
    drop(flooding);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_costs_datagrams_and_not_the_port() {
    let mut site = Site::new().unwrap();
    site.config.timeouts.heartbeat = Duration::from_millis(100);
    site.config.timeouts.dead_after = Duration::from_millis(500);
    let _server = site.start(Vec::new()).unwrap();
    let relay = FaultRelay::start(site.control_address()).await.unwrap();
    let echo = Echo::start().await;
    let client = site.client_at(relay.address(), &site.token("one")).connect().await.unwrap();
    let tunnel = client.udp().forward(echo.address).await.unwrap();
    let (url, visitor) = (tunnel.url(), visit(&tunnel).await);
    for _ in 0..3 {
        exchange(&visitor, b"before").await;
        relay.cut();
        exchange(&visitor, b"after").await;
        assert_eq!(tunnel.url(), url);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back_with_the_same_port_for_its_owner() {
    let site = Site::new().unwrap();
    let echo = Echo::start().await;
    let server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.udp().forward(echo.address).await.unwrap();
    // A TCP tunnel of the same number is another one.
    let tcp = client.tcp().remote_port(port(&tunnel)).forward(echo.address).await.unwrap();
    let (url, visitor) = (tunnel.url(), visit(&tunnel).await);
    exchange(&visitor, b"before").await;
    let leases = server.handle.leases();
    assert_eq!(leases.len(), 2);
    drop(server);
    crate::support::closed(port(&tcp)).await;
    let closed = async {
        while std::net::UdpSocket::bind(("127.0.0.1", port(&tunnel))).is_err() {
            // sleep: polling the system; the test goes on as soon as the port is free
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, closed).await.unwrap();
    let _server = site.start(leases).unwrap();
    exchange(&visitor, b"after").await;
    assert_eq!(tunnel.url(), url);
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_for_an_absent_client_are_dropped_and_counted() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let (token, echo) = (site.token("one"), Echo::start().await);
    let start = |wish: fn(UdpTunnel, u16) -> UdpTunnel, port| {
        let builder = site.client(&token).instance(InstanceId([1; 16]));
        async move {
            let client = builder.connect().await.unwrap();
            let tunnel = wish(client.udp(), port).forward(echo.address).await.unwrap();
            (client, tunnel)
        }
    };
    let (client, tunnel) = start(|any, _| any, 0).await;
    let (port, visitor) = (port(&tunnel), visit(&tunnel).await);
    exchange(&visitor, b"here").await;
    drop((client, tunnel));
    let gone = |now: &Snapshot| now.sessions.is_empty() && now.tunnels[0].visitors == 0;
    let flows = until(&server.handle, gone).await.udp_flows;
    visitor.send(b"anybody?").await.unwrap();
    let now = until(&server.handle, |now| now.udp_dropped > 0).await;
    assert!(now.refusals.contains_key("tunnel-away") && now.udp_flows == flows, "{now:#?}");
    let _back = start(UdpTunnel::remote_port, port).await;
    exchange(&visitor, b"again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_listening_is_told_and_the_flow_goes_on_when_something_does() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let address = Echo::start().await.address;
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let mut events = client.events();
    let tunnel = client.udp().forward(address).await.unwrap();
    let visitor = visit(&tunnel).await;
    let refused = async {
        loop {
            if let Some(Event::UpstreamFailed { code, .. }) = events.next().await {
                return code;
            }
        }
    };
    // The service's task is aborted, and its socket closed soon after.
    let asking = async {
        loop {
            visitor.send(b"anybody?").await.unwrap();
            // sleep: asked again until the socket is closed
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let code = tokio::select! {
        code = refused => code,
        () = asking => unreachable!(),
        // sleep: the longest this may take, and not waited for
        () = tokio::time::sleep(PATIENCE) => panic!("nobody said so"),
    };
    assert_eq!(code, Code::UpstreamRefused);
    let _echo = Echo::on(UdpSocket::bind(address).await.unwrap(), 1);
    exchange(&visitor, b"now").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn localhost_is_both_families() {
    let Ok(socket) = UdpSocket::bind("[::1]:0").await else { return };
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let echo = Echo::on(socket, 1);
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.udp().forward(format!("localhost:{}", echo.address.port())).await.unwrap();
    let visitor = visit(&tunnel).await;
    exchange(&visitor, b"v6").await;
    exchange(&visitor, b"again").await;
    assert_eq!(server.handle.snapshot().udp_flows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_can_be_limited_by_what_was_asked() {
    let mut site = Site::new().unwrap();
    site.config.limits.udp_answer_ratio = Some(3);
    let server = site.start(Vec::new()).unwrap();
    let echo = Echo::on(UdpSocket::bind("127.0.0.1:0").await.unwrap(), 10);
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.udp().forward(echo.address).await.unwrap();
    let visitor = visit(&tunnel).await;
    visitor.send(&[0; 100]).await.unwrap();
    let now = until(&server.handle, |now| now.udp_sent + now.udp_dropped == 10).await;
    assert_eq!(now.udp_sent, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_does_not_wait_for_flows() {
    let bench = bench(|_| {}).await;
    let visitor = visit(&bench.tunnel).await;
    exchange(&visitor, b"ping").await;
    let left = timeout(PATIENCE / 2, bench.client.drain(PATIENCE * 10)).await;
    assert!(left.is_ok(), "the flow would be there for another minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_no_datagrams_is_refused_before_it_is_published() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let refused = client.udp().forward("https://localhost:1").await.unwrap_err();
    assert!(refused.to_string().contains("datagrams"), "{refused}");
    let outside = client.udp().remote_port(53).forward("localhost:1").await.unwrap_err();
    assert!(outside.to_string().contains("20000 to 29999"), "{outside}");
    assert!(server.handle.snapshot().tunnels.is_empty());
}
