//! Idle streams of a session with several lanes. A stream can't move, so which one is used again decides what a request
//! waits behind.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::world::{World, get};
use crate::session::{Session, keep_lanes};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// More than a stream's first window, so that its receiver grants more: that is what bulk is known by.
const LARGE: usize = 2 << 20;

/// What the server does every second.
async fn look(session: &Arc<Session>) {
    // It is polled once, which is one look.
    assert!(timeout(Duration::ZERO, keep_lanes(session, Duration::from_secs(60))).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_idle_beside_a_download_is_not_used_again() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut other_lane = world.lane_of(&client);
    let session = client.target.session.clone();
    let mut visitors = [world.get("a.test", "/").await, world.visit().await, world.visit().await];
    let mut beside = client.accept().await;
    visitors[1].say(&get("a.test", "/")).await;
    let mut apart = other_lane.accept().await;
    visitors[2].say(&get("a.test", "/large")).await;
    let mut bulk = client.accept().await;
    for (upstream, visitor) in [(&mut apart, 1), (&mut beside, 0)] {
        upstream.head().await;
        upstream.say(OK).await;
        visitors[visitor].answer().await;
    }

    bulk.head().await;
    bulk.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")).await;
    visitors[2].head().await;
    let half = "x".repeat(LARGE / 2);
    tokio::join!(bulk.say(&half), visitors[2].bytes(half.len()));
    look(&session).await;
    visitors[0].say(&get("a.test", "/small")).await;
    assert!(
        apart.head().await.starts_with("get /small "),
        "not the last used, but the one on the other lane"
    );
    visitors[1].say(&get("a.test", "/too")).await;
    let mut new = other_lane.accept().await;
    assert!(new.head().await.starts_with("get /too "), "rather a new one");

    assert_eq!(beside.rest().await.0, "", "the oldest idle one makes way for it");
}
