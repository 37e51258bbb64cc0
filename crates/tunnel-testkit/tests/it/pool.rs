//! Several clients at one name: who gets which visitor, and that nobody notices when one of them goes.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UdpSocket},
    task::JoinSet,
};
use tunnel_client::{BindError, Client, Code, Tunnel};
use tunnel_protocol::{InstanceId, Token};
use tunnel_server::UpstreamState;
use tunnel_testkit::{Site, Upstream, Visitor};

use crate::support::{PATIENCE, port, until};

/// A client of an installation of its own at `myapp`.
async fn member(site: &Site, token: &Token, number: u8, upstream: &Upstream) -> (Client, Tunnel) {
    let client = site.client(token).instance(InstanceId([number; 16])).connect().await.unwrap();
    let tunnel = client.http().subdomain("myapp").pool(true).forward(upstream.target()).await.unwrap();
    (client, tunnel)
}

/// Visitors that come one after another, several at a time, until told to stop; each must get its answer.
struct Crowd {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    visitors: JoinSet<()>,
}

impl Crowd {
    fn start(web: SocketAddr) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut visitors = JoinSet::new();
        for visitor in 0..8 {
            let (stop, answered) = (stop.clone(), answered.clone());
            visitors.spawn(async move {
                let mut connection = Visitor::connect(web).await.unwrap();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let request = format!("GET /{visitor}-{number} HTTP/1.1\r\nHost: myapp.test\r\n\r\n");
                    connection.send(request).await.unwrap();
                    let answer = connection.answer().await.unwrap();
                    let body = String::from_utf8(answer.body).unwrap();
                    assert!(answer.status == 200, "{}: {body}", answer.head);
                    assert_eq!(body.split(' ').nth(1), Some(&*format!("/{visitor}-{number}")));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { stop, answered, visitors }
    }

    /// Waits for so many more answers.
    async fn answers(&mut self, more: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        let waiting = async {
            while self.answered.load(Ordering::Relaxed) < goal {
                // sleep: polling a counter; the test goes on as soon as it is there
                tokio::time::sleep(Duration::from_millis(1)).await;
                if let Some(ended) = self.visitors.try_join_next() {
                    ended.unwrap();
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("answers keep coming");
    }

    async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.visitors.join_next().await {
            ended.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_may_serve_a_name_from_several_upstreams() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let (one, two) = (Upstream::hello("one").await.unwrap(), Upstream::hello("two").await.unwrap());
    let shared = || client.http().subdomain("myapp").pool(true);
    let _first = shared().forward(one.target()).await.unwrap();
    let second = shared().forward(two.target()).await.unwrap();
    let twin = shared().forward(two.target()).await.unwrap_err();
    assert!(matches!(&twin, BindError::Refused(refusal) if refusal.code == Code::NameTaken), "{twin}");
    let get = || async {
        let answer = Visitor::get(site.web_address(), "myapp.test", "/").await.unwrap();
        String::from_utf8(answer.body).unwrap()[..3].to_owned()
    };
    let mut seen = [get().await, get().await];
    seen.sort_unstable();
    assert_eq!(seen, ["one", "two"], "they take turns");
    drop(second);
    let mut alone = 0;
    let left = async {
        while alone < 2 {
            alone = if get().await == "one" { alone + 1 } else { 0 };
        }
    };
    tokio::time::timeout(PATIENCE, left).await.expect("the other one goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_killed_or_drained_under_load_lose_no_request() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let token = site.token("one");
    let upstream = Upstream::hello("here").await.unwrap();
    let mut members = Vec::new();
    for number in 1..=3 {
        members.push(member(&site, &token, number, &upstream).await);
    }
    let serving = |now: &tunnel_server::Snapshot| now.tunnels[0].members.len();
    assert_eq!(serving(&server.handle.snapshot()), 3);
    let mut crowd = Crowd::start(site.web_address());
    for round in 0..6 {
        crowd.answers(50).await;
        let number = round % 3;
        let (client, tunnel) = members.remove(usize::from(number));
        if round < 3 {
            // Dropped, it closes its sockets and says nothing, as a process that is killed.
            drop((tunnel, client));
        } else {
            client.drain(PATIENCE).await;
        }
        until(&server.handle, |now| serving(now) == 2).await;
        crowd.answers(50).await;
        members.insert(usize::from(number), member(&site, &token, number + 1, &upstream).await);
        until(&server.handle, |now| serving(now) == 3).await;
    }
    crowd.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_go_to_the_member_that_has_the_fewest() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let token = site.token("one");
    let upstream = Upstream::echo().await.unwrap();
    let mut members = Vec::new();
    let mut shared = None;
    for number in 1..=3 {
        let client = site.client(&token).instance(InstanceId([number; 16])).connect().await.unwrap();
        let tunnel = client.tcp().pool(true);
        let tunnel = if let Some(port) = shared { tunnel.remote_port(port) } else { tunnel };
        let tunnel = tunnel.forward(upstream.target()).await.unwrap();
        shared = Some(port(&tunnel));
        members.push((client, tunnel));
    }
    let port = shared.unwrap();
    let visit = || async {
        let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        visitor.write_all(b"x").await.unwrap();
        visitor.read_exact(&mut [0; 1]).await.unwrap();
        visitor
    };
    let mut visitors = Vec::new();
    for _ in 0..30 {
        visitors.push(visit().await);
    }
    let load = |now: &tunnel_server::Snapshot| -> Vec<usize> {
        now.tunnels[0].members.iter().map(|member| member.visitors).collect()
    };
    assert_eq!(load(&server.handle.snapshot()), [10, 10, 10]);
    // A new member is the least busy until it has caught up.
    let client = site.client(&token).instance(InstanceId([4; 16])).connect().await.unwrap();
    let _tunnel = client.tcp().pool(true).remote_port(port).forward(upstream.target()).await.unwrap();
    for _ in 0..10 {
        visitors.push(visit().await);
    }
    assert_eq!(load(&server.handle.snapshot()), [10, 10, 10, 10]);
    // One that goes takes its visitors along, and nobody else's.
    drop(members.remove(0));
    until(&server.handle, |now| load(now) == [10, 10, 10]).await;
    let mut alive = 0;
    for visitor in &mut visitors {
        let echoed = async {
            visitor.write_all(b"y").await?;
            visitor.read_exact(&mut [0; 1]).await
        };
        alive += usize::from(echoed.await.is_ok());
    }
    assert_eq!(alive, 30);
    visitors.clear();
    until(&server.handle, |now| load(now) == [0, 0, 0]).await;
}

/// An address at which nothing listens, and what keeps others from doing so.
fn nobody() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_upstream_is_down_costs_no_request() {
    let nobody = nobody();
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let token = site.token("one");
    let upstream = Upstream::hello("here").await.unwrap();
    let _down = {
        let client = site.client(&token).instance(InstanceId([1; 16])).connect().await.unwrap();
        let tunnel = client.http().subdomain("myapp").pool(true).forward(nobody.1.clone()).await.unwrap();
        (client, tunnel)
    };
    let _up = member(&site, &token, 2, &upstream).await;
    let mut crowd = Crowd::start(site.web_address());
    crowd.answers(200).await;
    crowd.stop().await;
    let members = server.handle.snapshot().tunnels[0].members.clone();
    assert!(members.iter().any(|one| matches!(one.upstream_state, UpstreamState::Failing { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_upstream_is_down_costs_no_connection() {
    let nobody = nobody();
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let token = site.token("one");
    let upstream = Upstream::echo().await.unwrap();
    let mut records = server.handle.requests();
    let down = site.client(&token).instance(InstanceId([1; 16])).connect().await.unwrap();
    let tunnel = down.tcp().pool(true).forward(nobody.1.clone()).await.unwrap();
    let port = port(&tunnel);
    let up = site.client(&token).instance(InstanceId([2; 16])).connect().await.unwrap();
    let _tunnel = up.tcp().pool(true).remote_port(port).forward(upstream.target()).await.unwrap();
    // All at once, so that nobody is warned by those before.
    let mut visitors = JoinSet::new();
    for number in 0..20_u8 {
        visitors.spawn(async move {
            let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let said = vec![number; usize::from(number) * 700];
            visitor.write_all(&said).await.unwrap();
            visitor.shutdown().await.unwrap();
            let mut heard = Vec::new();
            visitor.read_to_end(&mut heard).await.unwrap();
            assert!(heard == said, "visitor {number} heard {} bytes", heard.len());
            heard.len() as u64
        });
    }
    let mut all = 0;
    while let Some(ended) = visitors.join_next().await {
        all += ended.unwrap();
    }
    // Also what was sent twice: to the one that is down, and then to the other.
    let mut recorded = (0, 0);
    for _ in 0..20 {
        let record = tokio::time::timeout(PATIENCE, records.recv()).await.unwrap().unwrap();
        recorded = (recorded.0 + record.bytes_in, recorded.1 + record.bytes_out);
    }
    let traffic = server.handle.snapshot().tunnels[0].traffic.clone();
    assert_eq!((recorded, (traffic.bytes_in, traffic.bytes_out)), ((all, all), (all, all)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_stays_with_its_member() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let token = site.token("one");
    let mut upstreams = Vec::new();
    let mut members = Vec::new();
    let mut shared = None;
    for number in 1..=2 {
        let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let client = site.client(&token).instance(InstanceId([number; 16])).connect().await.unwrap();
        let tunnel = client.udp().pool(true);
        let tunnel = if let Some(port) = shared { tunnel.remote_port(port) } else { tunnel };
        let tunnel = tunnel.forward(upstream.local_addr().unwrap().to_string()).await.unwrap();
        shared = Some(port(&tunnel));
        upstreams.push(upstream);
        members.push((client, tunnel));
    }
    let mut visitors = Vec::new();
    for number in 0..4_u8 {
        let visitor = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        visitor.connect(("127.0.0.1", shared.unwrap())).await.unwrap();
        visitor.send(&[number]).await.unwrap();
        until(&server.handle, |now| {
            now.tunnels[0].members.iter().map(|member| member.visitors).sum::<usize>() > usize::from(number)
        })
        .await;
        visitors.push(visitor);
    }
    let mut seen: HashMap<u8, usize> = HashMap::new();
    for (number, visitor) in (0..).zip(&visitors) {
        for _ in 0..5 {
            let arrived = arrives(number, visitor, &upstreams);
            let place = tokio::time::timeout(PATIENCE, arrived).await.unwrap();
            assert_eq!(*seen.entry(number).or_insert(place), place, "flow {number} moved");
        }
    }
    let at_first = seen.values().filter(|place| **place == 0).count();
    assert_eq!((seen.len(), at_first), (4, 2));
}

/// At which upstream a visitor's datagram arrives. One that is lost, as they may be on a busy machine, is sent again.
async fn arrives(number: u8, visitor: &UdpSocket, upstreams: &[UdpSocket]) -> usize {
    let next = async || {
        let (mut first, mut second) = ([0], [0]);
        tokio::select! {
            received = upstreams[0].recv(&mut first) => received.map(|_| (0, first[0])),
            received = upstreams[1].recv(&mut second) => received.map(|_| (1, second[0])),
        }
    };
    loop {
        visitor.send(&[number]).await.unwrap();
        while let Ok(received) = tokio::time::timeout(LOST_AFTER, next()).await {
            let (place, of) = received.unwrap();
            if of == number {
                return place;
            }
        }
    }
}

/// After how long a datagram is taken to be lost.
const LOST_AFTER: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn who_doesnt_fit_into_a_pool_is_refused_with_words() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let token = site.token("one");
    let upstream = Upstream::hello("here").await.unwrap();
    let (_client, _tunnel) = member(&site, &token, 1, &upstream).await;
    let other = site.client(&token).instance(InstanceId([2; 16])).connect().await.unwrap();
    let refused = other.http().subdomain("myapp").forward(upstream.target()).await.unwrap_err();
    assert!(
        matches!(&refused, BindError::Refused(refusal) if refusal.code == Code::PoolMismatch),
        "{refused}"
    );
    assert!(refused.to_string().contains("--pool"), "{refused}");
    let stranger = site.client(&site.token("two")).connect().await.unwrap();
    let refused = stranger.http().subdomain("myapp").pool(true).forward(upstream.target()).await.unwrap_err();
    assert!(matches!(&refused, BindError::Refused(refusal) if refusal.code == Code::NameTaken), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_of_one_installation_can_form_a_pool() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let token = site.token("one");
    let (a, b) = (Upstream::hello("a").await.unwrap(), Upstream::hello("b").await.unwrap());
    let _first = member(&site, &token, 1, &a).await;
    let _second = member(&site, &token, 1, &b).await;
    assert_eq!(server.handle.snapshot().tunnels[0].members.len(), 2);
    let mut answers = Vec::new();
    for _ in 0..4 {
        let answer = Visitor::get(site.web_address(), "myapp.test", "/").await.unwrap();
        answers.push(answer.body[0]);
    }
    answers.sort_unstable();
    assert_eq!(answers, *b"aabb");
}
