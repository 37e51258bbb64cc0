//! What a token may do: each right refuses at the door, and bites under an open session when it is tightened.

use std::time::{Duration, SystemTime};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};
use tunnel_client::{BindError, Client, ClientError, Code, Event, Tunnel, TunnelEnd};
use tunnel_protocol::Token;
use tunnel_server::{Rights, TunnelKind};
use tunnel_testkit::{Site, TestServer, Upstream, Visitor, header};

use crate::support::{PATIENCE, port, until};

struct Bench {
    site: Site,
    server: TestServer,
    token: Token,
    client: Client,
}

async fn bench(rights: Rights) -> Bench {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let token = site.token("ann");
    site.allow(&token, rights);
    let client = site.client(&token).connect().await.unwrap();
    Bench { site, server, token, client }
}

fn code<T: std::fmt::Debug>(bound: Result<T, BindError>) -> (Code, String) {
    match bound {
        Err(BindError::Refused(refusal)) => (refusal.code, refusal.message),
        other => panic!("not refused: {other:?}"),
    }
}

/// Why the tunnel ended.
async fn end(tunnel: &Tunnel) -> (Code, String) {
    match timeout(PATIENCE, tunnel.closed()).await.expect("it ends") {
        TunnelEnd::Refused(refusal) | TunnelEnd::Client(Some(ClientError::SentAway(refusal))) => {
            (refusal.code, refusal.message)
        }
        other => panic!("ended otherwise: {other}"),
    }
}

/// Whether a connection moves bytes there and back.
async fn echoes(stream: &mut TcpStream) -> bool {
    let mut back = [0; 4];
    stream.write_all(b"ping").await.is_ok()
        && timeout(PATIENCE, stream.read_exact(&mut back)).await.expect("an answer or an end").is_ok()
}

/// Whether a new visitor is let in. One that isn't may be reset before it knows that it was connected.
async fn lets_in(tunnel: &Tunnel) -> bool {
    match TcpStream::connect(("127.0.0.1", port(tunnel))).await {
        Ok(mut visitor) => echoes(&mut visitor).await,
        Err(_) => false,
    }
}

async fn visit(tunnel: &Tunnel) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port(tunnel))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds() {
    let only = |kinds: &[TunnelKind]| Rights { kinds: kinds.to_vec(), ..Rights::default() };
    let bench = bench(only(&[TunnelKind::Http, TunnelKind::Tcp])).await;
    let echo = Upstream::echo().await.unwrap();
    let (refused, message) = code(bench.client.udp().forward("127.0.0.1:1").await);
    assert_eq!(refused, Code::KindNotAllowed);
    assert!(message.contains("token edit ann --kind http,tcp,udp"), "{message}");
    let web = bench.client.http().forward(echo.target()).await.unwrap();
    let tcp = bench.client.tcp().forward(echo.target()).await.unwrap();
    let mut visitor = visit(&tcp).await;
    assert!(echoes(&mut visitor).await);
    bench.site.allow(&bench.token, only(&[TunnelKind::Http]));
    assert_eq!(end(&tcp).await.0, Code::KindNotAllowed);
    assert!(!echoes(&mut visitor).await, "who is there by it has to go");
    until(&bench.server.handle, |now| now.tunnels.len() == 1).await;
    drop(web);
}

#[tokio::test(flavor = "multi_thread")]
async fn ports() {
    let only = |tcp: &str, udp: &str| Rights {
        tcp_ports: Some(tcp.parse().unwrap()),
        udp_ports: Some(udp.parse().unwrap()),
        ..Rights::default()
    };
    let bench = bench(only("23400-23449", "none")).await;
    let echo = Upstream::echo().await.unwrap();
    let (refused, message) = code(bench.client.tcp().remote_port(23_450).forward(echo.target()).await);
    assert_eq!(refused, Code::PortNotAllowed);
    assert!(message.contains("--tcp-ports 23400-23449,23450"), "{message}");
    assert_eq!(code(bench.client.udp().forward("127.0.0.1:1").await).0, Code::PortNotAllowed);
    let tcp = bench.client.tcp().forward(echo.target()).await.unwrap();
    assert!((23_400..=23_449).contains(&port(&tcp)), "any port is one of these: {}", tcp.url());
    let mut visitor = visit(&tcp).await;
    assert!(echoes(&mut visitor).await);
    bench.site.allow(&bench.token, only("23450", "23450-23459"));
    assert_eq!(end(&tcp).await.0, Code::PortNotAllowed);
    assert!(!echoes(&mut visitor).await);
    let udp = bench.client.udp().forward("127.0.0.1:1").await.unwrap();
    assert!((23_450..=23_459).contains(&port(&udp)), "{}", udp.url());
    bench.site.allow(&bench.token, only("none", "1-1000"));
    assert_eq!(end(&udp).await.0, Code::PortNotAllowed);
    let (refused, message) = code(bench.client.udp().forward("127.0.0.1:1").await);
    assert!(refused == Code::PortNotAllowed && message.contains("20000-29999"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_tunnels() {
    let only = |max| Rights { max_tunnels: Some(max), ..Rights::default() };
    let bench = bench(only(2)).await;
    let hello = Upstream::hello("one").await.unwrap();
    let bind = async |name: &str| bench.client.http().subdomain(name).forward(hello.target()).await;
    let (first, second) = (bind("first").await.unwrap(), bind("second").await.unwrap());
    assert_eq!(code(bind("third").await).0, Code::LimitReached);
    // Another client of the same token has no more of them.
    let other = bench.site.client(&bench.token).connect().await.unwrap();
    assert_eq!(code(other.http().subdomain("third").forward(hello.target()).await).0, Code::LimitReached);
    // Nor by leaving the name to the server, which is no reason to ask again and again.
    let random = other.http().forward(hello.target()).await.unwrap_err();
    assert!(matches!(&random, BindError::Refused(refusal) if !refusal.is_passing()), "{random}");
    assert!(random.to_string().contains("may hold 2 names"), "{random}");
    bench.site.allow(&bench.token, only(1));
    assert_eq!(end(&second).await.0, Code::LimitReached);
    let web = bench.site.web_address();
    assert_eq!(Visitor::get(web, "first.test", "/").await.unwrap().status, 200, "the older one stays");
    bench.site.allow(&bench.token, only(2));
    let third = bind("third").await.unwrap();
    drop((first, third));
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_at_once_over_all_tunnels() {
    let only = |max| Rights { max_connections: Some(max), ..Rights::default() };
    let bench = bench(only(2)).await;
    let echo = Upstream::echo().await.unwrap();
    let one = bench.client.tcp().forward(echo.target()).await.unwrap();
    let other = bench.client.tcp().forward(echo.target()).await.unwrap();
    let web = bench.client.http().subdomain("web").forward(echo.target()).await.unwrap();
    let (mut first, mut second) = (visit(&one).await, visit(&other).await);
    assert!(echoes(&mut first).await && echoes(&mut second).await);
    assert!(!lets_in(&other).await);
    let answer = Visitor::get(bench.site.web_address(), "web.test", "/").await.unwrap();
    assert_eq!(header(&answer.head, "tunnel-error"), Some("too-many-visitors"));
    bench.site.allow(&bench.token, only(1));
    assert!(echoes(&mut first).await && echoes(&mut second).await, "who is there stays");
    drop(first);
    until(&bench.server.handle, |now| now.tunnels.iter().map(|tunnel| tunnel.visitors).sum::<usize>() == 1)
        .await;
    assert!(!lets_in(&one).await, "nobody takes the place");
    bench.site.allow(&bench.token, Rights::default());
    let again = async { while !lets_in(&one).await {} };
    timeout(PATIENCE, again).await.expect("room again");
    drop(web);
}

#[tokio::test(flavor = "multi_thread")]
async fn bandwidth_of_all_tunnels_changes_under_streams() {
    const EACH: usize = 60_000;
    let limit = |bandwidth| Rights { bandwidth, ..Rights::default() };
    let bench = bench(limit(Some(100_000))).await;
    let echo = Upstream::echo().await.unwrap();
    let one = bench.client.tcp().forward(echo.target()).await.unwrap();
    let other = bench.client.tcp().forward(echo.target()).await.unwrap();
    let carry = async |visitor: &mut TcpStream| {
        let (mut read, mut write) = visitor.split();
        let mut back = vec![0; EACH];
        let (read, wrote) = tokio::join!(read.read_exact(&mut back), write.write_all(&[7; EACH]));
        read.unwrap();
        wrote.unwrap();
    };
    let (mut first, mut second) = (visit(&one).await, visit(&other).await);
    let began = tokio::time::Instant::now();
    tokio::join!(carry(&mut first), carry(&mut second));
    let allowed = 100_000.0 * (began.elapsed().as_secs_f64() + 0.1) + 32_000.0;
    assert!(2.0 * EACH as f64 <= allowed, "together in {:?}", began.elapsed());
    // At this one it would take a day; those who wait for their turn go on when there is no limit any more.
    bench.site.allow(&bench.token, limit(Some(1)));
    let waiting = tokio::spawn(async move {
        carry(&mut first).await;
        first
    });
    let stuck = timeout(Duration::from_secs(2), carry(&mut second)).await;
    assert!(stuck.is_err(), "a stream under way has the new limit");
    bench.site.allow(&bench.token, limit(None));
    timeout(PATIENCE, waiting).await.expect("and none").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_a_month() {
    let limit = |monthly_bytes| Rights { monthly_bytes, ..Rights::default() };
    let bench = bench(limit(Some(100_000))).await;
    let mut events = bench.client.events();
    let echo = Upstream::echo().await.unwrap();
    let tcp = bench.client.tcp().forward(echo.target()).await.unwrap();
    let web = bench.client.http().subdomain("web").forward(echo.target()).await.unwrap();
    let mut visitor = visit(&tcp).await;
    assert!(echoes(&mut visitor).await);
    let flood = async { while echoes(&mut visitor).await {} };
    timeout(PATIENCE, flood).await.expect("a stream under way ends when they are used up");
    let answer = Visitor::get(bench.site.web_address(), "web.test", "/").await.unwrap();
    assert_eq!((answer.status, header(&answer.head, "tunnel-error")), (503, Some("quota-used")));
    assert!(header(&answer.head, "retry-after").is_some());
    assert!(!lets_in(&tcp).await);
    let told = async {
        loop {
            if let Event::Notice { message } = events.next().await.unwrap()
                && message.contains("--monthly-bytes")
            {
                break;
            }
        }
    };
    timeout(PATIENCE, told).await.expect("the owner hears of it");
    let used = bench.site.used(&bench.token).bytes();
    assert!((100_000..100_500).contains(&used), "{used}");
    bench.site.allow(&bench.token, limit(Some(1 << 20)));
    let again = async { while !lets_in(&tcp).await {} };
    timeout(PATIENCE, again).await.expect("more is allowed");
    let mut stays = visit(&tcp).await;
    assert!(echoes(&mut stays).await);
    bench.site.allow(&bench.token, limit(Some(1)));
    timeout(PATIENCE, async { while echoes(&mut stays).await {} }).await.expect("tightened, it bites");
    drop(web);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry() {
    let until_then = |expires| Rights { expires: Some(expires), ..Rights::default() };
    let bench = bench(until_then(SystemTime::now() + Duration::from_secs(3600))).await;
    let hello = Upstream::hello("one").await.unwrap();
    let app = bench.client.http().subdomain("app").forward(hello.target()).await.unwrap();
    bench.site.allow(&bench.token, until_then(SystemTime::now() + Duration::from_secs(1)));
    let (ended, message) = end(&app).await;
    assert_eq!(ended, Code::TokenExpired);
    assert!(message.contains("token edit ann --expires"), "{message}");
    until(&bench.server.handle, |now| now.sessions.is_empty() && now.tunnels.is_empty()).await;
    let error = bench.site.client(&bench.token).connect().await.unwrap_err();
    assert!(error.to_string().contains("token-expired"), "{error:?}");
    let again = bench.site.token("ben");
    bench.site.allow(&again, until_then(SystemTime::now() - Duration::from_secs(1)));
    assert!(bench.site.client(&again).connect().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_names_are_given_to_nobody_else() {
    let bench = bench(Rights { subdomains: vec!["dev-*".parse().unwrap()], ..Rights::default() }).await;
    let (site, ann) = (&bench.site, &bench.token);
    let ben = site.token("ben");
    let wild = Rights { domains: vec!["*.example.com".parse().unwrap()], ..Rights::default() };
    site.allow(&ben, wild);
    let other = site.client(&ben).connect().await.unwrap();
    let (hello, echo) = (Upstream::hello("ann").await.unwrap(), Upstream::echo().await.unwrap());
    let theirs = Upstream::hello("ben").await.unwrap();
    // In use by another when they are reserved: taken away.
    let demo = other.http().subdomain("demo").forward(theirs.target()).await.unwrap();
    let tcp = other.tcp().remote_port(23_470).forward(echo.target()).await.unwrap();
    let _wild = other.http().domain("*.example.com").forward(theirs.target()).await.unwrap();
    let web = site.web_address();
    assert_eq!(Visitor::get(web, "app.example.com", "/").await.unwrap().status, 200);
    site.reserve(&[("demo", ann), ("app.example.com", ann), ("tcp:23470", ann), ("www", ann)]);
    let (ended, message) = end(&demo).await;
    assert!(ended == Code::NameReserved && message.contains("another token"), "{message}");
    assert_eq!(end(&tcp).await.0, Code::PortNotAllowed);
    assert_eq!(code(other.http().subdomain("demo").forward("localhost:1").await).0, Code::NameReserved);
    assert_eq!(code(other.tcp().remote_port(23_470).forward(echo.target()).await).0, Code::PortNotAllowed);
    // Also not by a wildcard, while nobody serves it.
    let gone = async { while Visitor::get(web, "app.example.com", "/").await.unwrap().status != 404 {} };
    timeout(PATIENCE, gone).await.expect("not shown the other's wildcard");
    assert_eq!(Visitor::get(web, "b.example.com", "/").await.unwrap().status, 200);
    // Its owner may have it, whatever else it may not.
    assert_eq!(
        code(bench.client.http().subdomain("foo").forward("localhost:1").await).0,
        Code::DomainNotAllowed
    );
    let mut tunnels = Vec::new();
    for domain in ["demo.test", "app.example.com", "www.test"] {
        tunnels.push(bench.client.http().domain(domain).forward(hello.target()).await.unwrap());
        let answer = Visitor::get(web, domain, "/").await.unwrap();
        assert!(answer.body.starts_with(b"ann "), "{domain}: {}", String::from_utf8_lossy(&answer.body));
    }
    // The port was the other's just now, and is in quarantine for all but its owner.
    site.reserve(&[("demo", ann)]);
    assert_eq!(end(&tunnels[1]).await.0, Code::DomainNotAllowed);
    assert_eq!(end(&tunnels[2]).await.0, Code::NameReserved);
    let back = async { while Visitor::get(web, "app.example.com", "/").await.unwrap().status != 200 {} };
    timeout(PATIENCE, back).await.expect("released, the wildcard is asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_for_an_absent_client_goes_with_its_right() {
    let mut site = Site::new().unwrap();
    site.config.timeouts.hold = Duration::from_secs(3600);
    site.config.timeouts.lease = Duration::from_secs(3600);
    let server = site.start(Vec::new()).unwrap();
    let token = site.token("ann");
    let client = site.client(&token).connect().await.unwrap();
    let mut tunnels = Vec::new();
    for name in ["a", "b", "c"] {
        tunnels.push(client.http().subdomain(name).forward("localhost:1").await.unwrap());
    }
    tunnels.into_iter().for_each(std::mem::forget);
    drop(client);
    until(&server.handle, |now| now.sessions.is_empty() && now.tunnels.len() == 3).await;
    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    site.allow(&token, Rights { subdomains: names(&["a", "b"]), ..Rights::default() });
    until(&server.handle, |now| now.tunnels.len() == 2).await;
    site.allow(&token, Rights { max_tunnels: Some(1), ..Rights::default() });
    let left = until(&server.handle, |now| now.tunnels.len() == 1).await;
    assert!(left.tunnels[0].url.contains("//a."), "the oldest stays: {}", left.tunnels[0].url);
    site.revoke(&token);
    until(&server.handle, |now| now.tunnels.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_count_and_are_bounded_too() {
    let bench =
        bench(Rights { max_connections: Some(1), monthly_bytes: Some(5_000), ..Rights::default() }).await;
    let service = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp = bench.client.udp().forward(service.local_addr().unwrap().to_string().as_str()).await.unwrap();
    let visitor = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    visitor.connect(("127.0.0.1", port(&udp))).await.unwrap();
    visitor.send(&[1; 1000]).await.unwrap();
    timeout(PATIENCE, service.recv(&mut [0; 2000])).await.expect("the first one arrives").unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    other.connect(("127.0.0.1", port(&udp))).await.unwrap();
    other.send(&[1; 10]).await.unwrap();
    until(&bench.server.handle, |now| now.refusals.contains_key("too-many-visitors")).await;
    for _ in 0..20 {
        visitor.send(&[1; 1000]).await.unwrap();
    }
    until(&bench.server.handle, |now| now.udp_dropped >= 10).await;
    let spent = async {
        while bench.site.used(&bench.token).bytes_in < 5_000 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, spent).await.expect("counted");
    assert_eq!(bench.site.used(&bench.token).bytes_in, 5_000);
}
