//! Sessions with several lanes. A stream can't move, so which idle one is used again decides what a request waits
//! behind; and the lanes of a client that dies are lost one after the other.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tunnel_protocol::ServerMessage;

use super::world::{Client, HANG, World, get};
use crate::{
    endpoint::State,
    session::{Session, keep_lanes},
};

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

/// The number of the next heartbeat.
async fn beat(client: &mut Client) -> u64 {
    loop {
        let message = timeout(HANG, client.messages.recv()).await.unwrap().expect("the session lives");
        if let ServerMessage::Ping { seq } = message {
            return seq;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lane_loses_waits_for_a_sign_of_life_before_it_goes_to_another() {
    for lives in [false, true] {
        let mut world = World::new();
        let mut client = world.tunnel("a.test");
        let dies = CancellationToken::new();
        let mut further = world.mortal_lane_of(&client, dies.clone());
        let mut second = world.successor(&client);
        let mut visitors = [world.get("a.test", "/").await, world.visit().await];
        let mut beside = client.accept().await;
        visitors[1].say(&get("a.test", "/1")).await;
        let mut lost = further.accept().await;
        lost.head().await;
        beside.head().await;
        beside.say(OK).await;
        visitors[0].answer().await;
        dies.cancel();
        drop(further);
        let seq = beat(&mut client).await;
        assert!(client.is_left_alone().await, "nobody knows yet whether the client lives");
        let mut upstream = if lives {
            client.target.session.pong(seq);
            client.accept().await
        } else {
            let endpoint = client.die();
            endpoint.set_state(State::Away { until: Instant::now() + HANG });
            second.attach();
            second.accept().await
        };
        assert!(upstream.head().await.starts_with("get /1 "));
        upstream.say(OK).await;
        assert_eq!(visitors[1].answer().await.1, "ok");
    }
}
