//! Knowing that the server is there, and noticing that it isn't. Time is paused: the pipes are in memory.

use std::time::Duration;

use tokio::{
    io::AsyncWriteExt,
    time::{Instant, sleep},
};
use tunnel_client::{Event, TunnelId};
use tunnel_protocol::{ClientMessage, ServerMessage};

use crate::support::{connected, event, header};

#[tokio::test(start_paused = true)]
async fn heartbeats_are_answered_with_their_number() {
    let (_server, _client, mut session) = connected().await;
    session.say(ServerMessage::Ping { seq: 42 }).await;
    loop {
        match session.hear_all().await.unwrap() {
            ClientMessage::Pong { seq } => break assert_eq!(seq, 42),
            ClientMessage::Ping { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answered_heartbeats_keep_a_session_alive_and_measure_it() {
    let (server, client, mut session) = connected().await;
    let mut events = client.events();
    let start = Instant::now();
    let mut rtts = 0;
    while start.elapsed() < Duration::from_secs(300) {
        tokio::select! {
            message = session.hear() => panic!("the client should have nothing to say: {message:?}"),
            () = event(&mut events, |event| matches!(event, Event::Rtt { .. }).then_some(())) => rtts += 1,
        }
    }
    assert_eq!(server.dials(), 1);
    assert_eq!(rtts, 61, "one at once, then one every 5 s");
    assert!(client.status().rtt.is_some());
}

#[tokio::test(start_paused = true)]
async fn silence_for_fifteen_seconds_is_death() {
    let (mut server, client, _session) = connected().await;
    let mut events = client.events();
    let start = Instant::now();
    let login = server.login().await;
    let detected = start.elapsed();
    // Timers have a grain of a millisecond.
    assert!((15_000..=15_002).contains(&detected.as_millis()), "{detected:?}");
    let reason = event(&mut events, |event| match event {
        Event::Reconnecting { reason, held, .. } => Some((reason, held)),
        _ => None,
    })
    .await;
    assert_eq!(reason.1, Some(Duration::from_secs(60)));
    assert!(reason.0.contains("nothing heard"), "{}", reason.0);
    assert!(login.is_proven());
}

#[tokio::test(start_paused = true)]
async fn a_move_to_another_network_is_noticed_within_four_seconds() {
    let (mut server, client, mut session) = connected().await;
    let mut events = client.events();
    // The session goes on if the server still answers, ...
    server.moves_client();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        tokio::select! {
            message = session.hear() => panic!("the client should have nothing to say: {message:?}"),
            () = event(&mut events, |event| matches!(event, Event::Rtt { .. }).then_some(())) => {}
        }
    }
    assert_eq!(server.dials(), 1);
    // ... and is given up soon if it doesn't.
    server.moves_client();
    let start = Instant::now();
    let _login = server.login().await;
    assert!(start.elapsed() <= Duration::from_millis(4_010), "{:?}", start.elapsed());
    let reason = event(&mut events, |event| match event {
        Event::Reconnecting { reason, .. } => Some(reason),
        _ => None,
    });
    assert!(reason.await.contains("in another network"));
}

#[tokio::test(start_paused = true)]
async fn bytes_without_heartbeats_are_not_life_for_ever() {
    let (server, _client, session) = connected().await;
    let start = Instant::now();
    // Visitors keep the lane busy; nobody answers on the control stream.
    while server.is_quiet() {
        if let Ok(mut stream) = session.opener.open().await {
            let _ = stream.write_all(&header(TunnelId(99)).encode()).await;
        }
        // sleep: the clock is paused, this is what moves it
        sleep(Duration::from_secs(1)).await;
        assert!(start.elapsed() < Duration::from_secs(100), "never noticed");
    }
    assert!(start.elapsed() >= Duration::from_secs(55), "bytes count for something: {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_beat_that_is_asked_for_comes_at_once() {
    let (_server, client, mut session) = connected().await;
    for _ in 0..3 {
        let start = Instant::now();
        tokio::select! {
            message = session.hear() => panic!("the client should have nothing to say: {message:?}"),
            rtt = client.ping() => drop(rtt.unwrap()),
        }
        assert_eq!(start.elapsed(), Duration::ZERO, "it doesn't wait for the next one that is due");
    }
}
