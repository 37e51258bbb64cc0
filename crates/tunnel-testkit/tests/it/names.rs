//! Names and ports survive whatever happens to connections, clients and servers.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tunnel_client::Client;
use tunnel_protocol::InstanceId;
use tunnel_testkit::{FaultRelay, Site, Upstream};

use crate::support::{PATIENCE, closed, port, until};

/// A site whose heartbeats are quick, so that death is noticed in a test's time.
fn quick_site() -> Site {
    let mut site = Site::new().unwrap();
    site.config.timeouts.heartbeat = Duration::from_millis(100);
    site.config.timeouts.dead_after = Duration::from_millis(500);
    site.config.timeouts.hold = PATIENCE;
    site
}

/// One echo through a public port; it waits as long as the visitor is held.
async fn echo(port: u16) -> std::io::Result<()> {
    let exchange = async {
        let mut visitor = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
        visitor.write_all(b"ping").await?;
        let mut answer = [0; 4];
        visitor.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"ping");
        Ok(())
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_link_three_times_in_a_row_costs_visitors_only_time() {
    let site = quick_site();
    let server = site.start(Vec::new()).unwrap();
    let relay = FaultRelay::start(site.control_address()).await.unwrap();
    let upstream = Upstream::echo().await.unwrap();
    let client = site.client_at(relay.address(), &site.token("one")).connect().await.unwrap();
    let tunnel = client.tcp().forward(upstream.target()).await.unwrap();
    let port = port(&tunnel);
    for _ in 0..3 {
        echo(port).await.unwrap();
        let (before, _) = server.handle.snapshot().tunnels[0].serving.unwrap();
        relay.go_half_open();
        // Whoever comes before the loss is noticed may be cut off with the link; nobody is after it.
        let moved = |(session, _)| session != before;
        until(&server.handle, |now| now.tunnels[0].serving.is_some_and(moved)).await;
        echo(port).await.unwrap();
    }
    let end = until(&server.handle, |now| now.sessions.len() == 1 && now.sessions[0].streams == 1).await;
    assert_eq!(end.tunnels.len(), 1);
    assert_eq!(tunnel.url(), end.tunnels[0].url);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back_with_the_same_names_for_the_same_owners() {
    let mut site = quick_site();
    site.config.timeouts.lease = PATIENCE;
    let token = site.token("one");
    let upstream = Upstream::echo().await.unwrap();
    let mut server = site.start(Vec::new()).unwrap();
    let client = site.client(&token).connect().await.unwrap();
    let tunnel = client.tcp().forward(upstream.target()).await.unwrap();
    let web = client.http().forward(upstream.target()).await.unwrap();
    let (port, url) = (port(&tunnel), web.url());
    for _ in 0..3 {
        let leases = server.handle.leases();
        assert_eq!(leases.len(), 2);
        drop(server);
        // A killed process has its sockets closed before another can start; here they close soon after the drop.
        closed(port).await;
        server = site.start(leases).unwrap();
        until(&server.handle, |now| {
            now.tunnels.iter().filter(|tunnel| tunnel.serving.is_some()).count() == 2
        })
        .await;
        echo(port).await.unwrap();
        assert_eq!(web.url(), url);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_client_that_starts_again_has_its_port_back_and_visitors_wait_for_it() {
    let site = quick_site();
    let server = site.start(Vec::new()).unwrap();
    let token = site.token("one");
    let upstream = Upstream::echo().await.unwrap();
    let start = || async {
        let builder = site.client(&token).instance(InstanceId([1; 16]));
        builder.connect().await.unwrap()
    };
    let client = start().await;
    let first = client.tcp().forward(upstream.target()).await.unwrap();
    let port = port(&first);
    drop((first, client));
    until(&server.handle, |now| now.sessions.is_empty()).await;

    let waiting = tokio::spawn(echo(port));
    until(&server.handle, |now| now.tunnels.iter().any(|tunnel| tunnel.visitors == 1)).await;
    let client = start().await;
    let _again = client.tcp().remote_port(port).forward(upstream.target()).await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_token_is_refused_and_not_told_who_holds_the_name() {
    let site = quick_site();
    let _server = site.start(Vec::new()).unwrap();
    let owner = site.client(&site.token("owner")).connect().await.unwrap();
    let _held = owner.http().subdomain("myapp").forward("localhost:1").await.unwrap();
    let other = site.client(&site.token("other")).connect().await.unwrap();
    let refused = other.http().subdomain("myapp").forward("localhost:1").await.unwrap_err();
    let refused = refused.to_string();
    assert!(refused.contains("another token") && !refused.contains("owner"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_client_for_good() {
    let site = quick_site();
    let server = site.start(Vec::new()).unwrap();
    let token = site.token("one");
    let client = site.client(&token).connect().await.unwrap();
    site.revoke(&token);
    let end = tokio::time::timeout(PATIENCE, client.closed()).await.unwrap();
    assert!(end.is_err(), "{end:?}");
    until(&server.handle, |now| now.sessions.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_hands_its_clients_to_the_next_one_and_finishes_what_is_under_way() {
    let site = quick_site();
    let mut old = site.start(Vec::new()).unwrap();
    let upstream = Upstream::echo().await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.http().subdomain("myapp").forward(upstream.target()).await.unwrap();
    let raw = client.tcp().forward(upstream.target()).await.unwrap();
    let mut under_way = TcpStream::connect(("127.0.0.1", port(&raw))).await.unwrap();
    under_way.write_all(b"a").await.unwrap();
    under_way.read_exact(&mut [0; 1]).await.unwrap();

    let leases = old.handle.leases();
    old.begin_drain();
    // The port must be free before the next server can take it; the web socket is handed over.
    closed(port(&raw)).await;
    let new = site.start(leases).unwrap();
    until(&new.handle, |now| now.tunnels.iter().filter(|tunnel| tunnel.serving.is_some()).count() == 2).await;
    under_way.write_all(b"b").await.unwrap();
    under_way.read_exact(&mut [0; 1]).await.unwrap();
    drop(under_way);
    old.drain().await;
    assert!(tunnel.state().is_online());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_good_order_leaves_nothing_behind() {
    let mut site = quick_site();
    site.config.timeouts.hold = Duration::ZERO;
    let server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::echo().await.unwrap();
    let idle = server.handle.snapshot();
    for _ in 0..3 {
        let client: Client = site.client(&site.token("one")).connect().await.unwrap();
        let tunnel = client.http().subdomain("myapp").forward(upstream.target()).await.unwrap();
        client.drain(PATIENCE).await;
        drop((tunnel, client));
        let now = until(&server.handle, |now| now.sessions.is_empty() && now.tunnels.is_empty()).await;
        assert_eq!(now.visitor_tasks, idle.visitor_tasks);
        until(&server.handle, |now| now.control_tasks == idle.control_tasks).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_that_is_reset_while_it_waits_gives_its_place_up() {
    let site = quick_site();
    let server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::echo().await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.tcp().forward(upstream.target()).await.unwrap();
    let port = port(&tunnel);
    drop((tunnel, client));
    until(&server.handle, |now| now.sessions.is_empty()).await;
    let waiting = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    until(&server.handle, |now| now.tunnels[0].visitors == 1).await;
    waiting.set_zero_linger().unwrap();
    drop(waiting);
    until(&server.handle, |now| now.tunnels[0].visitors == 0).await;
}
