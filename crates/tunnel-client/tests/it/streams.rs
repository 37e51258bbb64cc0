//! Visitors: accepted at once, connected to the right place, and never told that a cut transfer was whole.

use std::{io::ErrorKind, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tunnel_client::{Client, Code, Event, Limits, Refusal, Timeouts, Tunnel};
use tunnel_protocol::{ClientMessage, RequestId, ServerMessage, StreamKind, StreamReply, TunnelId};

use crate::support::{Session, Upstream, Visit, connected, connected_with, event, soon};

#[tokio::test]
async fn bytes_go_both_ways_and_half_close_is_passed_on() {
    let (_server, client, mut session) = connected().await;
    let (_tunnel, upstream, id) = forward(&client, &mut session).await;
    let (mut visit, mut local) = visit(&session, &upstream, id).await;
    visit.stream.write_all(b"question").await.unwrap();
    visit.stream.shutdown().await.unwrap();
    let mut question = String::new();
    soon(local.read_to_string(&mut question)).await.unwrap();
    assert_eq!(question, "question");
    // The visitor has finished; the upstream has not.
    local.write_all(b"answer").await.unwrap();
    visit.says(b"answer").await;
    drop(local);
    assert_eq!(soon(visit.stream.read(&mut [0; 8])).await.unwrap(), 0);
    until(|| client.status().visitors == 0).await;
    let status = client.status();
    assert_eq!((status.bytes_in, status.bytes_out), (8, 6));
}

#[tokio::test]
async fn a_reset_is_passed_on_as_one_in_both_directions() {
    let (_server, client, mut session) = connected().await;
    let (_tunnel, upstream, id) = forward(&client, &mut session).await;

    let (gone, mut local) = visit(&session, &upstream, id).await;
    gone.stream.reset();
    let error = soon(local.read(&mut [0; 8])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    let (mut visit, local) = visit(&session, &upstream, id).await;
    tunnel_transport::reset(local);
    let error = soon(visit.stream.read(&mut [0; 8])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_lost_connection_to_the_server_resets_the_upstream() {
    let (_server, client, mut session) = connected().await;
    let (_tunnel, upstream, id) = forward(&client, &mut session).await;
    let (_visit, mut local) = visit(&session, &upstream, id).await;
    session.cut();
    let error = soon(local.read(&mut [0; 8])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "not an end: the visitor had not finished");
}

#[tokio::test]
async fn a_visitor_for_a_tunnel_the_client_doesnt_have_is_refused_and_nothing_dialled() {
    let (_server, client, mut session) = connected().await;
    let (_tunnel, upstream, id) = forward(&client, &mut session).await;
    let mut stray = session.visit(TunnelId(id.0 + 1)).await;
    assert_eq!(stray.reply().await, StreamReply::Refused(Code::NoSuchTunnel));
    // The upstream's first connection is the second visitor's.
    let (_visit, _local) = visit(&session, &upstream, id).await;
    assert_eq!(client.status().visitors, 1);
}

#[tokio::test]
async fn an_upstream_that_isnt_there_has_a_code_and_an_event_that_says_so() {
    let hasty = Timeouts { upstream: Duration::from_millis(100), ..Timeouts::default() };
    let (full, _first) = full_upstream().await;
    for (upstream, timeouts, code, words) in [
        (Upstream::nobody().await, Timeouts::default(), Code::UpstreamRefused, "nothing listens"),
        ("255.255.255.255:9".into(), Timeouts::default(), Code::UpstreamUnreachable, "can't be reached"),
        #[cfg(target_os = "linux")]
        (full.local_addr().unwrap().to_string(), hasty, Code::UpstreamTimeout, "did not accept"),
    ] {
        let (_server, client, mut session) = connected_with(|builder| builder.timeouts(timeouts)).await;
        let mut events = client.events();
        let (tunnel, id) = tokio::join!(client.tcp().forward(upstream.as_str()), session.grant("4000"));
        let _tunnel = tunnel.unwrap();
        assert_eq!(session.visit(id).await.refused().await, code, "{upstream}");
        let message = event(&mut events, |event| match event {
            Event::UpstreamFailed { message, code: told, .. } if told == code => Some(message),
            _ => None,
        })
        .await;
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn for_ever_is_a_time_like_any_other() {
    let dial = Duration::MAX;
    let patient = Timeouts { dial, login: dial, upstream: dial, header: dial, probe: dial, leave: dial };
    let (mut server, client, mut session) = connected_with(|builder| builder.timeouts(patient)).await;
    let (_tunnel, upstream, id) = forward(&client, &mut session).await;
    let (_visit, _local) = visit(&session, &upstream, id).await;
    let local: tunnel_client::Upstream = upstream.address().parse().unwrap();
    local.try_connect(Duration::MAX).await.unwrap();
    // Nor does leaving take the clock to its end.
    session.say(ServerMessage::GoAway { refusal: Refusal::passing(Code::Draining, "restart", 0) }).await;
    let mut next = server.login().await.welcome().await;
    next.grant("4000").await;
    assert_eq!(soon(session.hear()).await, Some(ClientMessage::Drain { moved: Some(true) }));
}

#[tokio::test]
async fn localhost_finds_a_service_on_either_family() {
    let (_server, client, mut session) = connected().await;
    let mut tunnels = Vec::new();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        // A machine may have no IPv6 at all.
        let Ok(listener) = TcpListener::bind(address).await else { continue };
        let port = listener.local_addr().unwrap().port();
        let (tunnel, id) = tokio::join!(client.tcp().forward(port), session.grant("4000"));
        tunnels.push(tunnel.unwrap());
        let mut visit = session.visit(id).await;
        visit.ready().await;
        soon(listener.accept()).await.unwrap();
    }
}

#[tokio::test]
async fn a_listener_hands_out_visitors_with_who_they_are() {
    let (_server, client, mut session) = connected().await;
    let (listener, id) = tokio::join!(client.tcp().listen(), session.grant("4000"));
    let mut listener = listener.unwrap();
    assert_eq!(listener.url(), "tcp://fake:4000");
    let mut visit = session.visit(id).await;
    visit.ready().await;
    let mut conn = soon(listener.accept()).await.unwrap();
    assert_eq!(conn.visitor(), Some("192.0.2.1:4000".parse().unwrap()));
    assert_eq!((conn.kind(), conn.request(), conn.local()), (StreamKind::Tcp, RequestId(5), None));
    visit.stream.write_all(b"hi").await.unwrap();
    let mut said = [0; 2];
    soon(conn.read_exact(&mut said)).await.unwrap();
    conn.write_all(b"ho").await.unwrap();
    visit.says(b"ho").await;
    drop(conn);
    let error = soon(visit.stream.read(&mut [0; 8])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "dropped without a shutdown");
}

#[tokio::test]
async fn over_its_limits_the_client_refuses_the_visitor_and_goes_on() {
    let limits = Limits { max_visitors: 2, backlog: 1, ..Limits::default() };
    let (_server, client, mut session) = connected_with(|builder| builder.limits(limits)).await;
    let (listener, id) = tokio::join!(client.tcp().listen(), session.grant("4000"));
    let mut listener = listener.unwrap();
    let mut first = session.visit(id).await;
    first.ready().await;
    assert_eq!(session.visit(id).await.refused().await, Code::ClientBusy, "the backlog is full");
    let one = soon(listener.accept()).await.unwrap();
    let mut second = session.visit(id).await;
    second.ready().await;
    let two = soon(listener.accept()).await.unwrap();
    assert_eq!(session.visit(id).await.refused().await, Code::ClientBusy, "the client is full");
    drop((one, two));
    until(|| client.status().visitors == 0).await;
    let mut third = session.visit(id).await;
    third.ready().await;
}

#[tokio::test]
async fn a_dropped_listener_resets_those_who_wait_and_refuses_those_who_come() {
    let (_server, client, mut session) = connected().await;
    let (listener, id) = tokio::join!(client.tcp().listen(), session.grant("4000"));
    let mut waiting = session.visit(id).await;
    waiting.ready().await;
    drop(listener.unwrap());
    soon(waiting.stream.read(&mut [0; 8])).await.unwrap_err();
    assert_eq!(session.visit(id).await.refused().await, Code::NoSuchTunnel);
}

#[tokio::test]
async fn visitors_outlive_the_tunnel_they_came_through() {
    let (_server, client, mut session) = connected().await;
    let (tunnel, upstream, id) = forward(&client, &mut session).await;
    let (mut visit, mut local) = visit(&session, &upstream, id).await;
    tunnel.close();
    soon(session.hear()).await.unwrap();
    local.write_all(b"still here").await.unwrap();
    visit.says(b"still here").await;
}

async fn forward(client: &Client, session: &mut Session) -> (Tunnel, Upstream, TunnelId) {
    let upstream = Upstream::new().await;
    let (tunnel, id) = tokio::join!(client.tcp().forward(upstream.address()), session.grant("4000"));
    (tunnel.unwrap(), upstream, id)
}

async fn visit(session: &Session, upstream: &Upstream, id: TunnelId) -> (Visit, TcpStream) {
    let mut visit = session.visit(id).await;
    let local = upstream.accept().await;
    visit.ready().await;
    (visit, local)
}

/// A listener with no room for another connection: Linux then ignores who comes.
async fn full_upstream() -> (TcpListener, TcpStream) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let first = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener, first)
}

async fn until(done: impl Fn() -> bool) {
    soon(async {
        while !done() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
