//! What an operator does to a running server, to clients that are there and to those that are away.

use std::{collections::BTreeSet, io::ErrorKind};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tunnel_client::{Event, TunnelEnd};
use tunnel_protocol::{Code, SessionId};
use tunnel_testkit::{Site, Upstream, Visitor, header};

use crate::support::{PATIENCE, port, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_ended_is_told_why_and_its_names_wait_for_it() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::hello("one").await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let mut events = client.events();
    let _tunnel = client.http().subdomain("app").forward(upstream.target()).await.unwrap();
    let session = server.handle.snapshot().sessions[0].id;
    assert!(server.handle.end_session(SessionId(session.0 ^ 1), "").is_err());
    server.handle.end_session(session, "too\u{1b}[31m\u{202e} loud").unwrap();
    let moving = async {
        loop {
            if let Some(Event::Moving { refusal }) = events.next().await {
                return refusal;
            }
        }
    };
    let refusal = timeout(PATIENCE, moving).await.expect("the client hears of it");
    assert_eq!(refusal.code, Code::Closed);
    assert!(refusal.message.contains("(too[31m loud)") && refusal.is_passing(), "{refusal:?}");
    let now = until(&server.handle, |now| now.sessions.is_empty()).await;
    assert_eq!((now.tunnels.len(), now.tunnels[0].serving), (1, None), "it may come back");
    assert!(server.handle.end_session(session, "").is_err(), "once is enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_is_closed_is_over_for_its_client_and_its_visitors_and_free_for_others() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::echo().await.unwrap();
    let web = Upstream::hello("one").await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tcp = client.tcp().forward(upstream.target()).await.unwrap();
    let _other = client.http().subdomain("app").forward(web.target()).await.unwrap();
    let port = port(&tcp);
    let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    visitor.write_all(b"x").await.unwrap();
    visitor.read_exact(&mut [0; 1]).await.unwrap();

    assert!(server.handle.close_tunnel("tcp://test:1", "").is_err());
    server.handle.close_tunnel(&tcp.url(), "by the law").unwrap();
    let end = timeout(PATIENCE, tcp.closed()).await.expect("the client hears of it");
    let TunnelEnd::Refused(refusal) = end else { panic!("{end:?}") };
    assert_eq!((refusal.code, refusal.is_passing()), (Code::Closed, false));
    assert!(refusal.message.ends_with("(by the law)"), "{}", refusal.message);
    let cut = timeout(PATIENCE, visitor.read(&mut [0; 1])).await.expect("the visitor is cut off");
    assert!(matches!(cut.map_err(|error| error.kind()), Ok(0) | Err(ErrorKind::ConnectionReset)));
    assert_eq!(server.handle.snapshot().tunnels.len(), 1, "the other one goes on");
    assert_eq!(Visitor::get(site.web_address(), "app.test", "/").await.unwrap().status, 200);

    let stranger = site.client(&site.token("two")).connect().await.unwrap();
    let again = stranger.tcp().remote_port(port).forward(upstream.target()).await;
    assert!(again.is_ok(), "{:?}", again.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_whose_client_is_away_can_be_closed() {
    let mut site = Site::new().unwrap();
    site.config.timeouts.hold = PATIENCE;
    let server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::hello("one").await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.http().subdomain("app").forward(upstream.target()).await.unwrap();
    let url = tunnel.url();
    drop((tunnel, client));
    until(&server.handle, |now| now.sessions.is_empty()).await;
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    visitor.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await.unwrap();
    until(&server.handle, |now| now.tunnels[0].visitors == 1).await;
    server.handle.close_tunnel(&url, "").unwrap();
    assert_eq!(visitor.answer().await.unwrap().status, 404, "nothing to wait for");
    assert!(server.handle.snapshot().tunnels.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_tunnel_lets_nobody_in_whatever_its_client_does() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let (web, echo) = (Upstream::hello("one").await.unwrap(), Upstream::echo().await.unwrap());
    let token = site.token("one");
    let client = site.client(&token).connect().await.unwrap();
    let http = client.http().subdomain("app").forward(web.target()).await.unwrap();
    let tcp = client.tcp().forward(echo.target()).await.unwrap();
    let (url, tcp_url, tcp_port) = (http.url(), tcp.url(), port(&tcp));
    let mut before = TcpStream::connect(("127.0.0.1", tcp_port)).await.unwrap();
    before.write_all(b"x").await.unwrap();
    before.read_exact(&mut [0; 1]).await.unwrap();

    assert!(server.handle.pause_tunnel("http://other.test", true).is_err());
    server.handle.pause_tunnel(&url, true).unwrap();
    server.handle.pause_tunnel(&tcp_url, true).unwrap();
    let refused = async || {
        let answer = Visitor::get(site.web_address(), "app.test", "/").await.unwrap();
        assert_eq!((answer.status, header(&answer.head, "tunnel-error")), (503, Some("tunnel-paused")));
        let visit = async {
            let mut visitor = TcpStream::connect(("127.0.0.1", tcp_port)).await?;
            visitor.read(&mut [0; 1]).await
        };
        assert_eq!(visit.await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    };
    refused().await;
    before.write_all(b"y").await.unwrap();
    before.read_exact(&mut [0; 1]).await.unwrap();
    drop((http, tcp));
    client.close().await;
    let now = server.handle.snapshot();
    assert_eq!(now.paused.len(), 2, "{:?}", now.paused);

    let client = site.client(&token).connect().await.unwrap();
    let _http = client.http().subdomain("app").forward(web.target()).await.unwrap();
    let _tcp = client.tcp().remote_port(tcp_port).forward(echo.target()).await.unwrap();
    assert!(server.handle.snapshot().tunnels.iter().all(|tunnel| tunnel.paused));
    refused().await;
    server.handle.pause_tunnel(&url, false).unwrap();
    server.handle.pause_tunnel(&tcp_url, false).unwrap();
    assert_eq!(Visitor::get(site.web_address(), "app.test", "/").await.unwrap().status, 200);
    let mut visitor = TcpStream::connect(("127.0.0.1", tcp_port)).await.unwrap();
    visitor.write_all(b"x").await.unwrap();
    visitor.read_exact(&mut [0; 1]).await.unwrap();
    assert!(server.handle.snapshot().paused.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_path_stays_paused_when_all_of_its_host_is_published() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let web = Upstream::hello("one").await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let api = client.http().subdomain("app").path("/api").forward(web.target()).await.unwrap();
    server.handle.pause_tunnel(&api.url(), true).unwrap();
    drop(api);
    let _all = client.http().subdomain("app").forward(web.target()).await.unwrap();
    for (path, status) in [("/", 200), ("/apix", 200), ("/api", 503), ("/api/x?y", 503)] {
        let answer = Visitor::get(site.web_address(), "app.test", path).await.unwrap();
        assert_eq!(answer.status, status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_drains_when_its_handle_says_so() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    assert!(!server.handle.is_draining());
    server.handle.drain();
    timeout(PATIENCE, server.ended()).await.expect("it ends by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn pausing_and_resuming_under_load_leaves_nothing_behind() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let web = Upstream::hello("one").await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.http().subdomain("app").forward(web.target()).await.unwrap();
    let url = tunnel.url();
    let mut visitors = JoinSet::new();
    for _ in 0..8 {
        let address = site.web_address();
        visitors.spawn(async move {
            let mut seen = BTreeSet::new();
            let mut visitor = Visitor::connect(address).await.unwrap();
            while !seen.contains(&200) || !seen.contains(&503) {
                visitor.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await.unwrap();
                let answer = visitor.answer().await.unwrap();
                seen.insert(answer.status);
                assert!(matches!(answer.status, 200 | 503), "{answer:?}");
            }
        });
    }
    let switching = async {
        for turn in (0..).map(|turn: u32| turn.is_multiple_of(2)) {
            server.handle.pause_tunnel(&url, turn).unwrap();
            tokio::task::yield_now().await;
            let before = server.handle.totals().requests;
            until(&server.handle, |now| now.requests >= before + 8 || now.tunnels[0].visitors == 0).await;
        }
    };
    tokio::select! {
        () = switching => {}
        () = async { while let Some(visitor) = visitors.join_next().await { visitor.unwrap() } } => {}
    }
    server.handle.pause_tunnel(&url, false).unwrap();
    let now = until(&server.handle, |now| now.tunnels[0].visitors == 0).await;
    assert_eq!(now.tunnels[0].members[0].visitors, 0);
    let totals = server.handle.totals();
    assert_eq!((totals.visitors, totals.waiting), (0, 0));
    assert_eq!(Visitor::get(site.web_address(), "app.test", "/").await.unwrap().status, 200);
}
