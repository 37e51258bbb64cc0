//! A tunnel that takes the place of another one of its client: visitors are served by the one or the other at any
//! moment, and those under way by the one they came to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tunnel_client::{BindError, Code, FieldEdit, Policies, TunnelEnd, TunnelState};
use tunnel_server::Snapshot;
use tunnel_testkit::{Site, Upstream, Visitor, header};

use crate::support::{PATIENCE, port, until};

#[tokio::test(flavor = "multi_thread")]
async fn no_visitor_is_without_one_or_the_other() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let (one, two) = (Upstream::hello("one").await.unwrap(), Upstream::hello("two").await.unwrap());
    let mut tunnel = client.http().forward(one.target()).await.unwrap();
    let url = tunnel.url();
    let host = url.trim_start_matches("http://").to_owned();

    let over = Arc::new(AtomicBool::new(false));
    let visits = {
        let (over, web, host) = (over.clone(), site.web_address(), host.clone());
        tokio::spawn(async move {
            let mut seen = 0;
            while !over.load(Ordering::Relaxed) {
                let answer = Visitor::get(web, &host, "/").await.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.head);
                seen += 1;
            }
            seen
        })
    };
    let mut former = Vec::new();
    for round in 0..20_u32 {
        let upstream = if round % 2 == 0 { two.target() } else { one.target() };
        let edit = FieldEdit::set("X-Round", round.to_string()).unwrap();
        let policies = Policies::new().response_header(edit).unwrap();
        let next = client.http().policies(policies).replacing(&tunnel).forward(upstream).await.unwrap();
        assert_eq!(next.url(), url, "a name of the server's choice is kept");
        assert!(matches!(tunnel.closed().await, TunnelEnd::Replaced));
        former.push(std::mem::replace(&mut tunnel, next));
    }
    over.store(true, Ordering::Relaxed);
    assert!(visits.await.unwrap() > 0);
    let answer = Visitor::get(site.web_address(), &host, "/").await.unwrap();
    assert_eq!(header(&answer.head, "x-round"), Some("19"));
    drop(former);
    let now = until(&server.handle, |now| now.tunnels.len() == 1).await;
    assert_eq!(now.tunnels[0].members.len(), 1);
    assert_eq!(
        Visitor::get(site.web_address(), &host, "/").await.unwrap().status,
        200,
        "the former's end is no end"
    );
    assert_eq!(client.status().tunnels.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_under_way_stays_and_a_refusal_changes_nothing() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let echo = Upstream::echo().await.unwrap();
    let tunnel = client.tcp().forward(echo.target()).await.unwrap();
    let url = tunnel.url();
    let mut visitor = TcpStream::connect(("127.0.0.1", port(&tunnel))).await.unwrap();
    echoes(&mut visitor).await;

    let refused = client.tcp().remote_port(1).replacing(&tunnel).forward(echo.target()).await.unwrap_err();
    assert!(
        matches!(&refused, BindError::Refused(refusal) if refusal.code == Code::PortNotAllowed),
        "{refused}"
    );
    assert!(matches!(tunnel.state(), TunnelState::Online(_)));
    let own = client.tcp().remote_port(port(&tunnel)).forward(echo.target()).await.unwrap_err();
    assert!(
        matches!(&own, BindError::Refused(refusal) if refusal.code == Code::PortTaken),
        "by itself it is taken: {own}"
    );

    let next = client.tcp().replacing(&tunnel).forward(echo.target()).await.unwrap();
    assert_eq!(next.url(), url);
    echoes(&mut visitor).await;
    drop(tunnel);
    echoes(&mut visitor).await;
    let mut other = TcpStream::connect(("127.0.0.1", port(&next))).await.unwrap();
    echoes(&mut other).await;
    next.withdraw();
    assert!(matches!(next.closed().await, TunnelEnd::Closed));
    echoes(&mut other).await;
    client.drain(Duration::from_millis(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tunnels_are_renamed_at_once_also_where_there_is_no_room_for_another() {
    const TUNNELS: usize = 64;
    let mut site = Site::new().unwrap();
    site.config.limits.tunnels_per_session = TUNNELS;
    site.config.limits.tunnels_per_token = TUNNELS;
    let server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let upstream = Upstream::hello("one").await.unwrap();
    let mut tunnels = Vec::new();
    for number in 0..TUNNELS {
        let tunnel = client.http().subdomain(format!("a{number}")).forward(upstream.target()).await.unwrap();
        tunnels.push(tunnel);
    }
    let mut renaming = JoinSet::new();
    for (number, tunnel) in tunnels.iter().enumerate() {
        let wanted = client.http().subdomain(format!("b{number}")).replacing(tunnel);
        renaming.spawn(wanted.forward(upstream.target()));
    }
    let renamed: Vec<_> =
        renaming.join_all().await.into_iter().collect::<Result<_, _>>().expect("all get their new names");
    for tunnel in &tunnels {
        assert!(matches!(tunnel.closed().await, TunnelEnd::Replaced));
    }
    for tunnel in &renamed {
        let host = tunnel.url().trim_start_matches("http://").to_owned();
        assert_eq!(Visitor::get(site.web_address(), &host, "/").await.unwrap().status, 200, "{host}");
    }
    let served = |now: &Snapshot| now.tunnels.iter().filter(|tunnel| !tunnel.members.is_empty()).count();
    until(&server.handle, |now| served(now) == TUNNELS).await;
    let more = client.http().subdomain("more").forward(upstream.target()).await.unwrap_err();
    assert!(matches!(&more, BindError::Refused(refusal) if refusal.code == Code::LimitReached), "{more}");
}

async fn echoes(visitor: &mut TcpStream) {
    visitor.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    tokio::time::timeout(PATIENCE, visitor.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(&heard, b"hello");
}
