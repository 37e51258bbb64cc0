//! One server after another on the same sockets, while visitors come: none of them notices.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    task::JoinSet,
    time::timeout,
};
use tunnel_client::Event;
use tunnel_server::Snapshot;
use tunnel_testkit::{Site, Upstream, Visitor, header};

use crate::support::{PATIENCE, port, until};

/// Visitors who send nothing twice: each keeps its connection until it is told to open another one.
struct Crowd {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    visitors: JoinSet<usize>,
}

impl Crowd {
    fn start(web: SocketAddr) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut visitors = JoinSet::new();
        for number in 0..8 {
            visitors.spawn(visit(web, number, stop.clone(), answered.clone()));
        }
        Self { stop, answered, visitors }
    }

    /// Waits for so many more answers.
    async fn answers(&self, more: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        let waiting = async {
            while self.answered.load(Ordering::Relaxed) < goal {
                // sleep: polling a counter; the test goes on as soon as it is high enough
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("visitors are answered");
    }

    /// How many connections the visitors had.
    async fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut connections = 0;
        while let Some(visitor) = self.visitors.join_next().await {
            connections += visitor.expect("a visitor that was always answered");
        }
        connections
    }
}

async fn visit(web: SocketAddr, visitor: u32, stop: Arc<AtomicBool>, answered: Arc<AtomicUsize>) -> usize {
    let (mut connections, mut kept) = (0, None);
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut connection = match kept.take() {
            Some(kept) => kept,
            None => {
                connections += 1;
                Visitor::connect(web).await.unwrap()
            }
        };
        connection
            .send(format!("GET /{visitor}-{number} HTTP/1.1\r\nHost: myapp.test\r\n\r\n"))
            .await
            .unwrap();
        let answer = connection.answer().await.unwrap();
        let body = String::from_utf8(answer.body).unwrap();
        assert!(answer.status == 200, "{}: {body}", answer.head);
        assert_eq!(body.split(' ').nth(1), Some(&*format!("/{visitor}-{number}")));
        answered.fetch_add(1, Ordering::Relaxed);
        let closes =
            header(&answer.head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        kept = (!closes).then_some(connection);
    }
    connections
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_servers_succeed_each_other() {
    let mut site = Site::new().unwrap();
    // Nobody is to wait for a client that is away: whoever would, fails.
    site.config.timeouts.hold = Duration::ZERO;
    let mut server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::hello("site").await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.http().subdomain("myapp").forward(upstream.target()).await.unwrap();
    let url = tunnel.url();
    let crowd = Crowd::start(site.web_address());
    for _ in 0..3 {
        crowd.answers(200).await;
        let (new, old) = site.succeed(server).await.unwrap();
        timeout(PATIENCE, old.drain()).await.expect("its visitors have moved");
        server = new;
    }
    crowd.answers(200).await;
    let connections = crowd.stop().await;
    assert!(connections >= 4 * 8, "everyone was told to connect anew each time: {connections}");
    assert_eq!(tunnel.url(), url);
    until(&server.handle, |now| now.sessions.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_when_successors_die_with_the_clients() {
    let mut site = Site::new().unwrap();
    site.config.timeouts.hold = Duration::ZERO;
    let server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::hello("site").await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.http().subdomain("myapp").forward(upstream.target()).await.unwrap();
    let url = tunnel.url();
    let crowd = Crowd::start(site.web_address());
    let back = |now: &Snapshot| now.sessions.iter().any(|session| !session.is_leaving);
    for _ in 0..3 {
        crowd.answers(200).await;
        site.fail_to_succeed(&server).await.unwrap();
        crowd.answers(200).await;
        until(&server.handle, back).await;
    }
    crowd.answers(200).await;
    let (new, old) = site.succeed(server).await.unwrap();
    timeout(PATIENCE, old.drain()).await.expect("its visitors have moved");
    crowd.answers(200).await;
    crowd.stop().await;
    assert_eq!(tunnel.url(), url);
    until(&new.handle, |now| now.sessions.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_its_server_takes_back_leaves_no_name_behind() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::hello("site").await.unwrap();
    let token = site.token("one");
    // One that hears of a successor which takes nobody, and one that was there when it died.
    for dies in [false, true] {
        let client = site.client(&token).connect().await.unwrap();
        let mut events = client.events();
        let _tunnel = client.http().subdomain("myapp").forward(upstream.target()).await.unwrap();
        assert_eq!(server.handle.leases().len(), 1);
        if dies {
            site.fail_to_succeed(&server).await.unwrap();
        } else {
            server.handle.hand_over();
            server.handle.clients_moved(Duration::ZERO).await;
            while !matches!(events.next().await, Some(Event::Moving { .. })) {}
        }
        timeout(PATIENCE, client.drain(PATIENCE)).await.expect("it has left");
        server.handle.take_back();
        until(&server.handle, |now| now.sessions.is_empty()).await;
        assert_eq!(server.handle.leases(), [], "a name was left behind");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_on_its_way_to_a_successor_leaves_no_name_behind() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::hello("site").await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let mut events = client.events();
    let _web = client.http().subdomain("myapp").forward(upstream.target()).await.unwrap();
    let _tcp = client.tcp().forward(upstream.target()).await.unwrap();
    let other = site.client(&site.token("two")).connect().await.unwrap();
    let _others = other.http().subdomain("other").forward(upstream.target()).await.unwrap();
    let leaving = async {
        while !matches!(events.next().await, Some(Event::Moving { .. })) {}
        timeout(PATIENCE, client.drain(PATIENCE)).await.expect("it has left");
    };
    let (succeeded, ()) = tokio::join!(site.succeed(server), leaving);
    let (new, old) = succeeded.unwrap();
    timeout(PATIENCE, old.drain()).await.expect("its clients are gone or have moved");
    let kept: Vec<_> = new.handle.leases().into_iter().map(|lease| lease.subdomain).collect();
    assert_eq!(kept, [Some("other".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_log_in_while_servers_succeed_each_other_are_let_in_at_once() {
    let site = Site::new().unwrap();
    let token = site.token("one");
    let mut server = site.start(Vec::new()).unwrap();
    let (stop, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let mut storm = JoinSet::new();
    for _ in 0..8 {
        let (site, token, stop, count) = (site.clone(), token.clone(), stop.clone(), count.clone());
        storm.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                // One that doesn't try again.
                let client = site.client(&token).fail_fast(true).connect().await.expect("it is let in");
                count.fetch_add(1, Ordering::Relaxed);
                client.close().await;
            }
        });
    }
    let crowd = Crowd { stop, answered: count, visitors: JoinSet::new() };
    for _ in 0..5 {
        crowd.answers(30).await;
        let (new, old) = site.succeed(server).await.unwrap();
        timeout(PATIENCE, old.drain()).await.expect("its clients have moved");
        server = new;
    }
    crowd.answers(30).await;
    crowd.stop().await;
    while let Some(ended) = storm.join_next().await {
        ended.expect("a client that was always let in");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_under_way_stay_and_new_ones_go_to_the_successor() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::echo().await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.tcp().forward(upstream.target()).await.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port(&tunnel)));
    let mut early = TcpStream::connect(address).await.unwrap();
    say(&mut early, b"before").await;
    let (new, old) = site.succeed(server).await.unwrap();
    say(&mut early, b"still with the old one").await;
    let mut late = TcpStream::connect(address).await.unwrap();
    say(&mut late, b"with the new one").await;
    until(&new.handle, |now| now.tunnels.iter().any(|tunnel| tunnel.visitors == 1)).await;
    until(&old.handle, |now| now.tunnels.iter().any(|tunnel| tunnel.visitors == 1)).await;
    drop(early);
    timeout(PATIENCE, old.drain()).await.expect("its last visitor has left");
    say(&mut late, b"and still").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_go_to_the_successor_on_the_same_socket() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let upstream = echo.local_addr().unwrap();
    let mut answering = JoinSet::new();
    answering.spawn(async move {
        let mut buffer = [0; 100];
        while let Ok((length, from)) = echo.recv_from(&mut buffer).await {
            echo.send_to(&buffer[..length], from).await.unwrap();
        }
    });
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.udp().forward(upstream).await.unwrap();
    let visitor = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    visitor.connect(("127.0.0.1", port(&tunnel))).await.unwrap();
    exchange(&visitor, b"before").await;
    let (new, old) = site.succeed(server).await.unwrap();
    exchange(&visitor, b"meanwhile").await;
    timeout(PATIENCE, old.drain()).await.expect("flows don't hold it up");
    exchange(&visitor, b"after").await;
    until(&new.handle, |now| now.udp_flows == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_yet_is_still_served() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::hello("site").await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let _tunnel = client.http().subdomain("myapp").forward(upstream.target()).await.unwrap();
    let fresh = Visitor::connect(site.web_address()).await.unwrap();
    let mut kept = Visitor::connect(site.web_address()).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: myapp.test\r\n\r\n";
    kept.send(request).await.unwrap();
    assert_eq!(kept.answer().await.unwrap().status, 200);
    let (_new, old) = site.succeed(server).await.unwrap();
    for mut visitor in [fresh, kept] {
        visitor.send(request).await.unwrap();
        let answer = visitor.answer().await.unwrap();
        assert_eq!((answer.status, header(&answer.head, "connection")), (200, Some("close")));
    }
    timeout(PATIENCE, old.drain()).await.expect("both were told to go");
}

async fn say(stream: &mut TcpStream, words: &[u8]) {
    stream.write_all(words).await.unwrap();
    let mut heard = vec![0; words.len()];
    timeout(PATIENCE, stream.read_exact(&mut heard)).await.expect("an answer in time").unwrap();
    assert_eq!(heard, words);
}

async fn exchange(visitor: &UdpSocket, words: &[u8]) {
    visitor.send(words).await.unwrap();
    let mut buffer = [0; 100];
    let length = timeout(PATIENCE, visitor.recv(&mut buffer)).await.expect("an answer in time").unwrap();
    assert_eq!(&buffer[..length], words);
}
