//! Visitors of a client that is far away: a lane that stands still costs none of them anything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tunnel_testkit::{FaultRelay, Site, Upstream};

use crate::support::{PATIENCE, port, until};

#[tokio::test(flavor = "multi_thread")]
async fn with_a_lane_at_a_standstill_all_visitors_are_answered_and_each_upstream_is_asked_once() {
    let mut site = Site::new().unwrap();
    site.config.timeouts.heartbeat = Duration::from_millis(200);
    // The lane isn't given up before the test is over.
    site.config.timeouts.dead_after = 10 * PATIENCE;
    let server = site.start(Vec::new()).unwrap();
    let relay = FaultRelay::start(site.control_address()).await.unwrap();
    relay.delay(Duration::from_millis(10));
    let (connections, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (connections.clone(), asked.clone());
    let upstream = Upstream::start(move |mut stream| {
        let (connections, asked) = counted.clone();
        async move {
            connections.fetch_add(1, Ordering::SeqCst);
            let mut piece = [0; 64];
            while let Ok(count @ 1..) = stream.read(&mut piece).await {
                asked.fetch_add(count, Ordering::SeqCst);
                if stream.write_all(&piece[..count]).await.is_err() {
                    return;
                }
            }
        }
    });
    let upstream = upstream.await.unwrap();
    let client = site.client_at(relay.address(), &site.token("one")).connect().await.unwrap();
    let tunnel = client.tcp().forward(upstream.target()).await.unwrap();
    until(&server.handle, |now| now.sessions[0].rtt.is_some()).await;
    drop(visit(port(&tunnel)).await);
    until(&server.handle, |now| now.sessions[0].lanes >= 6).await;
    // The one that opened the lanes is gone.
    until(&server.handle, |now| now.tunnels[0].visitors == 0).await;
    let (before, asked_before) = (connections.load(Ordering::SeqCst), asked.load(Ordering::SeqCst));

    relay.stall(3);
    let mut visitors = JoinSet::new();
    for _ in 0..24 {
        visitors.spawn(visit(port(&tunnel)));
    }
    let answered = tokio::time::timeout(PATIENCE, visitors.join_all()).await.expect("all are answered");
    assert_eq!(connections.load(Ordering::SeqCst) - before, answered.len());
    assert_eq!(asked.load(Ordering::SeqCst) - asked_before, answered.len());
}

/// A visitor that has said something, and was answered.
async fn visit(port: u16) -> TcpStream {
    let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    visitor.write_all(b"x").await.unwrap();
    visitor.read_exact(&mut [0; 1]).await.unwrap();
    visitor
}
