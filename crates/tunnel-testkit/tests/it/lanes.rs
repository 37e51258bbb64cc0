//! Lanes that come and go under visitors who notice nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
};
use tunnel_client::Event;
use tunnel_testkit::{FaultRelay, Site, Upstream};

use crate::support::{PATIENCE, port, until};

async fn visit(port: u16) -> TcpStream {
    let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    visitor.set_nodelay(true).unwrap();
    visitor.write_all(b"x").await.unwrap();
    visitor.read_exact(&mut [0; 1]).await.unwrap();
    visitor
}

#[tokio::test(flavor = "multi_thread")]
async fn no_visitor_is_lost_while_lanes_come_and_go() {
    come_and_go(Duration::ZERO, 6, 16, 24, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn far_away_neither_where_new_visitors_have_twins() {
    come_and_go(Duration::from_millis(10), 8, 32, 120, 6).await;
}

/// Eight visitors after each other, at once, who each want all of what they sent back, and a crowd that needs more than
/// `few` of `lanes` of so many `streams`, again and again.
async fn come_and_go(delay: Duration, lanes: u32, streams: usize, crowd_size: usize, few: usize) {
    let mut site = Site::new().unwrap();
    site.config.limits.streams_per_lane = streams;
    site.config.limits.lanes = lanes;
    site.config.timeouts.lane_idle = Duration::from_millis(20);
    site.config.timeouts.heartbeat = Duration::from_millis(200);
    let server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::echo().await.unwrap();
    let relay = FaultRelay::start(site.control_address()).await.unwrap();
    relay.delay(delay);
    let client = site.client_at(relay.address(), &site.token("one")).connect().await.unwrap();
    let mut events = client.events();
    let tunnel = client.tcp().forward(upstream.target()).await.unwrap();
    let port = port(&tunnel);

    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let mut steady = JoinSet::new();
    for _ in 0..8 {
        let (stop, served) = (stop.clone(), served.clone());
        steady.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let sent = [7; 3000];
                visitor.write_all(&sent).await.unwrap();
                visitor.shutdown().await.unwrap();
                let mut echoed = Vec::new();
                visitor.read_to_end(&mut echoed).await.unwrap();
                assert_eq!(echoed, sent);
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let (mut added, mut gone) = (0, 0);
    let coming_and_going = async {
        while gone < 4 {
            let mut crowd = Vec::new();
            for _ in 0..crowd_size {
                crowd.push(visit(port).await);
            }
            until(&server.handle, |now| now.sessions[0].lanes > few).await;
            drop(crowd);
            // The crowd has left, and the steady visitors fit on fewer lanes.
            while gone <= added {
                match events.next().await.unwrap() {
                    Event::LaneAdded { .. } => added += 1,
                    Event::LaneLost { .. } => {
                        gone += 1;
                        break;
                    }
                    _ => {}
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, coming_and_going).await.expect("lanes come and go");
    stop.store(true, Ordering::Relaxed);
    while let Some(visitor) = steady.join_next().await {
        visitor.unwrap();
    }
    assert!(served.load(Ordering::Relaxed) > 0);
    assert_eq!(client.status().session.unwrap().id, server.handle.snapshot().sessions[0].id, "one session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_nobody_visits_any_more_is_down_to_its_first_lane() {
    let mut site = Site::new().unwrap();
    site.config.limits.streams_per_lane = 16;
    site.config.timeouts.lane_idle = Duration::from_millis(20);
    let server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::echo().await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.tcp().forward(upstream.target()).await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..40 {
        crowd.push(visit(port(&tunnel)).await);
    }
    until(&server.handle, |now| now.sessions[0].lanes > 2).await;
    drop(crowd);
    until(&server.handle, |now| now.sessions[0].lanes == 1).await;
    let mut events = client.events();
    drop(visit(port(&tunnel)).await);
    // Nothing was left that would bring them back.
    let quiet = async {
        loop {
            match events.next().await.unwrap() {
                Event::LaneAdded { .. } | Event::LaneLost { .. } => panic!("a lane came or went"),
                Event::Rtt { .. } => return,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, quiet).await.unwrap();
    assert_eq!(server.handle.snapshot().sessions[0].lanes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_long_path_a_small_request_does_not_wait_behind_bulk() {
    let mut site = Site::new().unwrap();
    site.config.timeouts.heartbeat = Duration::from_millis(200);
    let server = site.start(Vec::new()).unwrap();
    let relay = FaultRelay::start(site.control_address()).await.unwrap();
    relay.delay(Duration::from_millis(20));
    let (go, went) = watch::channel(false);
    let upstream = Upstream::start(move |mut stream| {
        let mut went = went.clone();
        async move {
            let mut wish = [0; 1];
            if stream.read_exact(&mut wish).await.is_err() {
                return;
            }
            if wish == *b"b" {
                let block = vec![0; 64 << 10];
                while stream.write_all(&block).await.is_ok() {}
            } else {
                let _ = went.wait_for(|go| *go).await;
                let _ = stream.write_all(&wish).await;
            }
        }
    });
    let upstream = upstream.await.unwrap();
    let client = site.client_at(relay.address(), &site.token("one")).connect().await.unwrap();
    let tunnel = client.tcp().forward(upstream.target()).await.unwrap();
    until(&server.handle, |now| now.sessions[0].rtt.is_some()).await;

    // The bulk is slow, and never ends: whoever is on its lane waits for what is in the pipe before.
    relay.limit_rate(4 << 20);
    let mut bulk = TcpStream::connect(("127.0.0.1", port(&tunnel))).await.unwrap();
    bulk.write_all(b"b").await.unwrap();
    let mut drain = JoinSet::new();
    drain.spawn(async move {
        let mut block = vec![0; 64 << 10];
        while bulk.read(&mut block).await.is_ok_and(|read| read > 0) {}
    });
    until(&server.handle, |now| now.sessions[0].lanes >= 4).await;
    go.send_replace(true);
    for _ in 0..5 {
        drop(visit(port(&tunnel)).await);
    }
    drop(drain);
}
