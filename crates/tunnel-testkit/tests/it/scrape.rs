//! Metrics of a server with thousands of tunnels: each is counted, as it is at that moment.

use std::{sync::Arc, time::SystemTime};

use serde_json::json;
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;
use tunnel_admin::{About, AdminServer, AdminSocket, NoTokens, Takeover};
use tunnel_protocol::Token;
use tunnel_server::{SavedLease, TunnelKind, TunnelState};
use tunnel_testkit::{Site, Upstream, Visitor};

use crate::support::{PATIENCE, until};

/// Tunnels of clients that are away.
const AWAY: usize = 3_000;

#[tokio::test(flavor = "multi_thread")]
async fn each_of_thousands_of_tunnels_is_counted_as_it_is_now() {
    let site = Site::new().unwrap();
    let tokens: Vec<_> = (0..AWAY / 10).map(|number| site.token(&format!("token-{number}"))).collect();
    let leases = (0..AWAY).map(|number| lease(number, &tokens[number / 10])).collect();
    let server = site.start(leases).unwrap();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("admin.sock");
    let about = About { version: "1".into(), domain: "test".into(), started: SystemTime::now() };
    let admin = AdminServer::new(about, server.handle.clone(), Arc::new(NoTokens))
        .socket(AdminSocket::bind(&path, Takeover::No).unwrap());
    let _running = AbortOnDropHandle::new(tokio::spawn(admin.run()));
    let scrape = async || {
        let mut visitor = Visitor::over(UnixStream::connect(&path).await.unwrap());
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        visitor.send(request).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, visitor.answer()).await.unwrap().unwrap();
        String::from_utf8(answer.body).unwrap()
    };
    let has = |text: &str, line: &str| {
        assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
    };
    has(&scrape().await, "tunnel_tunnels{kind=\"http\",state=\"away\"} 3000");

    let upstream = Upstream::hello("here").await.unwrap();
    // Nobody listens there once this is over.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = site.client(&site.token("ci")).connect().await.unwrap();
    let paused = client.http().subdomain("paused").forward(upstream.target()).await.unwrap();
    let _up = client.http().subdomain("up").forward(upstream.target()).await.unwrap();
    let _tcp = client.tcp().forward(upstream.target()).await.unwrap();
    let _failing = client.http().subdomain("failing").forward(nobody.to_string()).await.unwrap();
    Visitor::get(site.web_address(), "failing.test", "/").await.unwrap();
    server.handle.pause_tunnel(&paused.url(), true).unwrap();
    let text = scrape().await;
    for line in [
        "tunnel_tunnels{kind=\"http\",state=\"up\"} 1",
        "tunnel_tunnels{kind=\"http\",state=\"away\"} 3000",
        "tunnel_tunnels{kind=\"http\",state=\"paused\"} 1",
        "tunnel_tunnels{kind=\"http\",state=\"failing\"} 1",
        "tunnel_tunnels{kind=\"tcp\",state=\"up\"} 1",
        "tunnel_leases 3004",
        "tunnel_sessions 1",
    ] {
        has(&text, line);
    }
    let states = server.handle.tunnel_counts();
    assert_eq!(states.values().sum::<usize>(), AWAY + 4);
    assert_eq!(states.get(&(TunnelKind::Http, TunnelState::Failing)), Some(&1));

    client.close().await;
    until(&server.handle, |snapshot| snapshot.sessions.is_empty()).await;
    let text = scrape().await;
    assert!(!text.contains("state=\"up\""), "{text}");
    has(&text, "tunnel_sessions 0");
}

/// One of ten tunnels of a token.
fn lease(number: usize, token: &Token) -> SavedLease {
    let owner = number / 10;
    let lease = json!({
        "subdomain": format!("away-{number}"),
        "token": token.id().to_string(),
        "name": format!("token-{owner}"),
        "instance": format!("{owner:032x}"),
        "machine": "laptop",
    });
    serde_json::from_value(lease).unwrap()
}
