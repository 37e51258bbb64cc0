//! Many visitors at once, on an upstream that never answers.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};
use tunnel_testkit::{Site, Upstream};

use crate::support::{port, until};

/// Counts who got through to it, and says nothing.
async fn counting() -> (Upstream, Arc<Semaphore>) {
    let count = Arc::new(Semaphore::new(0));
    let counter = count.clone();
    let upstream = Upstream::start(move |mut stream| {
        let counter = counter.clone();
        async move {
            let mut byte = [0; 1];
            if stream.read_exact(&mut byte).await.is_ok() {
                counter.add_permits(1);
            }
            let _ = stream.read(&mut byte).await;
        }
    });
    (upstream.await.unwrap(), count)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_visitors_of_a_silent_upstream_get_through_and_leave_nothing() {
    const VISITORS: u32 = 2_000;
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let (upstream, count) = counting().await;
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.tcp().forward(upstream.target()).await.unwrap();
    let mut visitors = Vec::new();
    for _ in 0..VISITORS {
        let mut visitor = TcpStream::connect(("127.0.0.1", port(&tunnel))).await.unwrap();
        visitor.write_all(b"x").await.unwrap();
        visitors.push(visitor);
    }
    let all = count.acquire_many(VISITORS);
    let all = tokio::time::timeout(Duration::from_secs(120), all).await;
    assert!(
        all.is_ok(),
        "{} of {VISITORS} got through; {:#?}",
        count.available_permits(),
        server.handle.snapshot()
    );
    let crowded = server.handle.snapshot();
    assert_eq!(crowded.tunnels[0].visitors, VISITORS as usize);
    assert!(crowded.sessions[0].lanes > 1, "one lane carries 1,024 streams: {crowded:#?}");

    drop(visitors);
    until(&server.handle, |now| {
        let session = &now.sessions[0];
        now.tunnels[0].visitors == 0 && session.streams == session.lanes
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_too_many_is_refused_and_nobody_else_notices() {
    let mut site = Site::new().unwrap();
    site.config.limits.visitors_per_tunnel = 10;
    let server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::echo().await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.tcp().forward(upstream.target()).await.unwrap();
    let mut inside = Vec::new();
    for _ in 0..10 {
        let mut visitor = TcpStream::connect(("127.0.0.1", port(&tunnel))).await.unwrap();
        visitor.write_all(b"x").await.unwrap();
        visitor.read_exact(&mut [0; 1]).await.unwrap();
        inside.push(visitor);
    }
    let refused = async {
        let mut visitor = TcpStream::connect(("127.0.0.1", port(&tunnel))).await?;
        visitor.read(&mut [0; 1]).await
    };
    assert_eq!(refused.await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(server.handle.snapshot().refusals.get("too-many-visitors"), Some(&1));
    for visitor in &mut inside {
        visitor.write_all(b"y").await.unwrap();
        visitor.read_exact(&mut [0; 1]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_that_reads_nothing_slows_nobody() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let flood = Upstream::start(|mut stream| async move {
        let mut byte = [0; 1];
        if stream.read_exact(&mut byte).await.is_err() {
            return;
        }
        if byte == *b"f" {
            let block = vec![0; 64 * 1024];
            while stream.write_all(&block).await.is_ok() {}
        } else {
            let _ = stream.write_all(&byte).await;
        }
    });
    let flood = flood.await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.tcp().forward(flood.target()).await.unwrap();
    let mut stalled = Vec::new();
    for _ in 0..64 {
        let mut visitor = TcpStream::connect(("127.0.0.1", port(&tunnel))).await.unwrap();
        visitor.write_all(b"f").await.unwrap();
        // It reads a little, so that its flood has begun.
        visitor.read_exact(&mut [0; 1]).await.unwrap();
        stalled.push(visitor);
    }
    for _ in 0..200 {
        let mut visitor = TcpStream::connect(("127.0.0.1", port(&tunnel))).await.unwrap();
        visitor.write_all(b"e").await.unwrap();
        visitor.read_exact(&mut [0; 1]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_waits_for_room_gets_the_first_place_that_is_given_back() {
    let mut site = Site::new().unwrap();
    // One place is the control stream's. The client adds no lane, though the server would take one.
    site.config.limits.streams_per_lane = 3;
    site.config.limits.lanes = 2;
    let _server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::echo().await.unwrap();
    let limits = tunnel_client::Limits { max_lanes: 1, ..tunnel_client::Limits::default() };
    let client = site.client(&site.token("one")).limits(limits).connect().await.unwrap();
    let tunnel = client.tcp().forward(upstream.target()).await.unwrap();
    let visit = || async {
        let mut visitor = TcpStream::connect(("127.0.0.1", port(&tunnel))).await.unwrap();
        visitor.write_all(b"x").await.unwrap();
        visitor
    };
    let mut inside = Vec::new();
    for _ in 0..2 {
        let mut visitor = visit().await;
        visitor.read_exact(&mut [0; 1]).await.unwrap();
        inside.push(visitor);
    }
    let mut waiting = visit().await;
    drop(inside.pop());
    // It would be refused after 5 s without an answer.
    waiting.read_exact(&mut [0; 1]).await.unwrap();
}
