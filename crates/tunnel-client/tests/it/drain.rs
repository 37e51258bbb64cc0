//! Leaving in order.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Wake, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};
use tunnel_client::{BindError, Client, Event, Listener, Phase, TunnelEnd, TunnelState};
use tunnel_protocol::{ClientMessage, ServerMessage};

use crate::support::{connected, event, server, soon};

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn draining_asks_the_server_finishes_visitors_and_ends() {
    let (_server, client, mut session) = connected().await;
    let mut events = client.events();
    let (listener, id) = tokio::join!(client.tcp().listen(), session.grant("4000"));
    let mut listener = listener.unwrap();
    let mut visit = session.visit(id).await;
    visit.ready().await;
    let mut conn = soon(listener.accept()).await.unwrap();

    let drain = client.drain(LONG);
    let rest = async {
        assert_eq!(soon(session.hear()).await, Some(ClientMessage::Drain { moved: Some(false) }));
        event(&mut events, |event| matches!(event, Event::Draining).then_some(())).await;
        assert_eq!(client.status().phase, Phase::Draining);
        session.say(ServerMessage::Drained).await;
        conn.write_all(b"the end").await.unwrap();
        conn.shutdown().await.unwrap();
        visit.says(b"the end").await;
        assert_eq!(soon(visit.stream.read(&mut [0; 1])).await.unwrap(), 0);
        drop((conn, visit));
        session.until_gone().await;
    };
    tokio::join!(drain, rest);
    assert!(client.closed().await.is_ok());
    assert!(matches!(soon(listener.accept()).await, Err(TunnelEnd::Client(None))));
    assert!(matches!(client.tcp().listen().await, Err(BindError::Ended(None))));
}

#[tokio::test(start_paused = true)]
async fn grace_is_all_that_a_visitor_who_never_ends_gets() {
    let (_server, client, mut session) = connected().await;
    let (listener, id) = tokio::join!(client.tcp().listen(), session.grant("4000"));
    let mut visit = session.visit(id).await;
    visit.ready().await;
    let _conn = listener.unwrap().accept().await.unwrap();
    let start = Instant::now();
    tokio::join!(client.drain(Duration::from_secs(7)), session.until_gone());
    assert_eq!(start.elapsed().as_secs(), 7);
    assert!(client.closed().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_doesnt_hold_a_drain_up() {
    let (_server, client, session) = connected().await;
    let start = Instant::now();
    client.drain(LONG).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    drop(session);
}

#[tokio::test]
async fn draining_while_not_connected_ends_at_once() {
    let (mut server, builder) = server();
    let client = builder.start().unwrap();
    let _waiting = server.login().await;
    soon(client.drain(LONG)).await;
    assert!(client.closed().await.is_ok());
}

#[tokio::test]
async fn closing_waits_for_nobody() {
    let (_server, client, mut session) = connected().await;
    let (listener, id) = tokio::join!(client.tcp().listen(), session.grant("4000"));
    let mut visit = session.visit(id).await;
    visit.ready().await;
    let mut conn = listener.unwrap().accept().await.unwrap();
    soon(client.close()).await;
    soon(conn.read_u8()).await.unwrap_err();
    soon(visit.stream.read_u8()).await.unwrap_err();
}

/// Looks at a client and its tunnel in the very moment in which it is woken.
struct Look {
    client: Client,
    listener: Listener,
    seen: Mutex<Option<(Phase, TunnelState)>>,
}

impl Wake for Look {
    fn wake(self: Arc<Self>) {
        let now = (self.client.status().phase, self.listener.tunnel().state());
        self.seen.lock().unwrap().get_or_insert(now);
    }
}

#[tokio::test]
async fn who_hears_that_the_client_has_ended_finds_its_tunnels_ended() {
    let (_server, client, mut session) = connected().await;
    let (listener, _) = tokio::join!(client.tcp().listen(), session.grant("4000"));
    let look = Arc::new(Look { client, listener: listener.unwrap(), seen: Mutex::default() });
    let mut closed = pin!(look.client.closed());
    assert!(closed.as_mut().poll(&mut Context::from_waker(&Waker::from(look.clone()))).is_pending());
    soon(look.client.close()).await;
    assert_eq!(*look.seen.lock().unwrap(), Some((Phase::Ended, TunnelState::Ended)));
}
