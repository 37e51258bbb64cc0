//! A server that means ill, or is broken: it may cost a session, never more.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tunnel_client::{Event, TunnelId};
use tunnel_protocol::{ClientMessage, Refusal, ServerMessage, StreamReply};

use crate::support::{connected, event, header, http, soon, welcome};

#[tokio::test]
async fn control_frames_that_are_too_long_or_no_messages_end_the_session_and_not_the_client() {
    let (mut server, client, mut session) = connected().await;
    let mut events = client.events();
    let garbage: [&[u8]; 4] = [
        &[0xFF; 8],
        b"\0\x01\0\x01{}",
        b"\0\0\0\x04nope",
        b"\0\0\0\x1c{\"type\":\"pong\",\"seq\":\"\x1b[2J\"}",
    ];
    for bytes in garbage {
        session.say_bytes(bytes).await;
        let reason = event(&mut events, |event| match event {
            Event::Reconnecting { reason, .. } => Some(reason),
            _ => None,
        })
        .await;
        assert!(reason.contains("no control message") && !reason.contains('\x1b'), "{reason}");
        session = server.login().await.welcome().await;
    }
}

#[tokio::test]
async fn messages_of_the_future_and_about_nothing_are_ignored() {
    let (server, client, mut session) = connected().await;
    let mut events = client.events();
    let (listener, id) = tokio::join!(client.http().listen(), session.grant("fox"));
    let stray = TunnelId(id.0 + 7);
    let refusal = Refusal::permanent(tunnel_client::Code::Closed, "");
    session.say_bytes(b"\0\0\0\x1a{\"type\":\"warp\",\"factor\":9}").await;
    for message in [
        ServerMessage::Bound { tunnel: stray, address: http("x") },
        ServerMessage::Refused { tunnel: stray, refusal: refusal.clone() },
        ServerMessage::Unbound { tunnel: stray, refusal },
        ServerMessage::Pong { seq: 12_345 },
        ServerMessage::Pong { seq: u64::MAX },
        ServerMessage::Drained,
        ServerMessage::Notice { message: "\x1b]0;pwned\x07".into() },
    ] {
        session.say(message).await;
    }
    let notice = event(&mut events, |event| match event {
        Event::Notice { message } => Some(message),
        _ => None,
    })
    .await;
    assert_eq!(notice, "\u{FFFD}]0;pwned\u{FFFD}");
    assert!(listener.unwrap().tunnel().state().is_online() && server.dials() == 1);
}

#[tokio::test]
async fn a_stream_without_a_proper_head_is_reset() {
    let (_server, client, session) = connected().await;
    let mut unknown_kind = header(TunnelId(1)).encode().to_vec();
    unknown_kind[2] = 77;
    for head in [&b"\xFF\xFF and more"[..], b"\0\x01\x01", &unknown_kind] {
        let mut stream = soon(session.opener.open()).await.unwrap();
        stream.write_all(head).await.unwrap();
        soon(stream.read_u8()).await.unwrap_err();
    }
    assert_eq!(client.status().visitors, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_head_never_comes_is_reset_after_a_while() {
    let (_server, _client, mut session) = connected().await;
    let mut stream = session.opener.open().await.unwrap();
    stream.write_all(&[0]).await.unwrap();
    let mut byte = [0];
    let reset = tokio::select! {
        read = stream.read(&mut byte) => read,
        message = session.hear() => panic!("{message:?}"),
    };
    reset.unwrap_err();
}

#[tokio::test]
async fn a_flood_of_heartbeats_and_streams_starves_nobody() {
    let (_server, client, mut session) = connected().await;
    let (tunnel, id) = tokio::join!(client.tcp().forward("localhost:9"), session.grant("4000"));
    let _tunnel = tunnel.unwrap();
    for seq in 0..5_000 {
        session.say(ServerMessage::Ping { seq }).await;
    }
    let mut strays = Vec::new();
    for _ in 0..300 {
        strays.push(session.open(TunnelId(999)).await);
    }
    for mut stray in strays {
        assert_eq!(stray.reply().await, StreamReply::Accepted);
    }
    let mut visit = session.visit(id).await;
    assert!(matches!(visit.reply().await, StreamReply::Refused(_)));
}

#[tokio::test]
async fn a_welcome_full_of_extremes_is_survived() {
    let (mut server, client, session) = connected().await;
    session.cut();
    let mut mad = welcome(2);
    (mad.heartbeat_ms, mad.dead_after_ms, mad.hold_s) = (u64::MAX, u64::MAX, u64::MAX);
    (mad.streams_per_lane, mad.max_lanes) = (u32::MAX, u32::MAX);
    let session = server.login().await.welcome_with(mad).await;
    session.cut();
    let mut mad = welcome(3);
    (mad.heartbeat_ms, mad.dead_after_ms, mad.hold_s) = (0, 0, 0);
    (mad.streams_per_lane, mad.max_lanes) = (0, 0);
    let mut session = server.login().await.welcome_with(mad).await;
    let forever = Refusal::passing(tunnel_client::Code::Draining, "x".repeat(2000), u64::MAX);
    session.say(ServerMessage::GoAway { refusal: forever }).await;
    let mut events = client.events();
    session.say(ServerMessage::Ping { seq: 1 }).await;
    loop {
        match soon(session.hear_all()).await.unwrap() {
            ClientMessage::Pong { seq: 1 } => break,
            _ => tokio::task::yield_now().await,
        }
    }
    drop(client);
    let _ =
        tokio::time::timeout(Duration::from_secs(30), async { while events.next().await.is_some() {} }).await;
}
