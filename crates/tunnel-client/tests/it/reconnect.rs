//! Staying online: after a loss, and before one.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep},
};
use tunnel_client::{
    Client, ClientError, Code, Dial, DialError, Event, Phase, Refusal, TunnelEnd, TunnelState,
};
use tunnel_protocol::{
    BindSpec, ClientMessage, ServerMessage,
    bind::{HostSpec, PortSpec},
};
use tunnel_transport::{BoxFuture, TlsProblem};

use crate::support::{connected, event, soon, welcome};

#[tokio::test]
async fn after_a_loss_the_tunnels_are_bound_again_under_the_same_names() {
    let (mut server, client, mut session) = connected().await;
    let (random, chosen) = (client.http(), client.tcp().remote_port(25_432));
    let (random, id) = tokio::join!(random.listen(), session.grant("red-fox"));
    let (chosen, _) = tokio::join!(chosen.listen(), session.grant("25432"));
    let (mut random, chosen) = (random.unwrap(), chosen.unwrap());
    let mut states = random.tunnel().watch();
    session.cut();

    let login = server.login().await;
    soon(states.wait_for(|state| matches!(state, TunnelState::Away(_)))).await.unwrap();
    assert_eq!(client.status().phase, Phase::Reconnecting);
    assert_eq!(random.url(), "http://red-fox.fake", "still known while away");
    let mut session = login.welcome_with(welcome(2)).await;
    let (again, spec) = session.bind().await;
    assert_eq!(again, id);
    assert_eq!(spec, HostSpec::preferred("red-fox").into());
    let address = crate::support::http("red-fox");
    session.say(ServerMessage::Bound { tunnel: id, address }).await;
    let (_, spec) = session.bind().await;
    assert_eq!(spec, BindSpec::Tcp(PortSpec { port: Some(25_432), ..PortSpec::default() }));
    soon(states.wait_for(TunnelState::is_online)).await.unwrap();

    let mut visit = session.visit(id).await;
    visit.ready().await;
    soon(random.accept()).await.unwrap();
    drop(chosen);
}

#[tokio::test]
async fn a_name_that_isnt_given_back_yet_is_asked_for_until_it_is() {
    let (mut server, client, mut session) = connected().await;
    let mut events = client.events();
    let (listener, id) = tokio::join!(client.http().subdomain("app").listen(), session.grant("app"));
    let listener = listener.unwrap();
    session.cut();
    let mut session = server.login().await.welcome().await;
    let (_, _) = session.bind().await;
    let refusal = Refusal::passing(Code::NameTaken, "a moment", 1);
    session.say(ServerMessage::Refused { tunnel: id, refusal }).await;
    event(&mut events, |event| matches!(event, Event::Refused { retry_in: Some(_), .. }).then_some(())).await;
    assert_eq!(session.grant("app").await, id);
    let mut states = listener.tunnel().watch();
    soon(states.wait_for(TunnelState::is_online)).await.unwrap();
}

#[tokio::test]
async fn a_name_that_is_never_given_back_ends_its_tunnel_and_no_other() {
    let (mut server, client, mut session) = connected().await;
    let (lost, _) = tokio::join!(client.http().listen(), session.grant("a"));
    let (kept, _) = tokio::join!(client.http().listen(), session.grant("b"));
    let (mut lost, kept) = (lost.unwrap(), kept.unwrap());
    session.cut();
    let mut session = server.login().await.welcome().await;
    let (tunnel, _) = session.bind().await;
    let refusal = Refusal::permanent(Code::NameTaken, "somebody else has it now");
    session.say(ServerMessage::Refused { tunnel, refusal }).await;
    assert!(matches!(soon(lost.accept()).await, Err(TunnelEnd::Refused(_))));
    assert_eq!(session.grant("b").await, kept.id());
}

#[tokio::test]
async fn a_server_going_away_is_left_only_when_the_next_has_the_tunnels_and_visitors_are_done() {
    let (mut server, client, mut old) = connected().await;
    let mut events = client.events();
    let (listener, id) = tokio::join!(client.http().listen(), old.grant("fox"));
    let mut listener = listener.unwrap();
    let mut visit = old.visit(id).await;
    visit.ready().await;
    let mut conn = soon(listener.accept()).await.unwrap();

    old.say(ServerMessage::GoAway { refusal: Refusal::passing(Code::Draining, "restarting", 1) }).await;
    event(&mut events, |event| matches!(event, Event::Moving { .. }).then_some(())).await;
    assert!(listener.tunnel().state().is_online(), "the old session still serves");
    let mut new = server.login().await.welcome_with(welcome(2)).await;
    assert_eq!(new.grant("fox").await, id);
    // What the old session says on the tunnel now is not about the new one.
    old.say(ServerMessage::Unbound { tunnel: id, refusal: Refusal::permanent(Code::TakenOver, "") }).await;
    assert_eq!(soon(old.hear()).await, Some(ClientMessage::Drain { moved: Some(true) }));
    old.say(ServerMessage::Drained).await;

    // The visitor under way is finished on the old session.
    conn.write_all(b"whole").await.unwrap();
    conn.shutdown().await.unwrap();
    visit.says(b"whole").await;
    drop((conn, visit));
    old.until_gone().await;
    assert!(listener.tunnel().state().is_online());
    let mut next = new.visit(id).await;
    next.ready().await;
    assert_eq!((client.status().phase, server.dials()), (Phase::Online, 2));
}

#[tokio::test]
async fn who_was_sent_on_and_then_leaves_for_good_says_so() {
    let (mut server, client, mut old) = connected().await;
    let (listener, id) = tokio::join!(client.http().listen(), old.grant("fox"));
    let _listener = listener.unwrap();
    old.say(ServerMessage::GoAway { refusal: Refusal::passing(Code::Draining, "restarting", 1) }).await;
    let mut new = server.login().await.welcome_with(welcome(2)).await;
    assert_eq!(new.grant("fox").await, id);
    // One that has visitors of its own doesn't answer.
    assert_eq!(soon(old.hear()).await, Some(ClientMessage::Drain { moved: Some(true) }));
    new.cut();
    let leaving = async {
        assert_eq!(soon(old.hear()).await, Some(ClientMessage::Drain { moved: Some(false) }));
        old.say(ServerMessage::Drained).await;
        old.until_gone().await;
    };
    tokio::join!(client.drain(Duration::from_secs(3600)), leaving);
    assert!(client.closed().await.is_ok());
}

#[tokio::test]
async fn a_server_that_doesnt_want_the_client_back_ends_it() {
    let (_server, client, mut session) = connected().await;
    let refusal = Refusal::permanent(Code::Revoked, "the token was revoked");
    session.say(ServerMessage::GoAway { refusal }).await;
    assert!(matches!(soon(client.closed()).await, Err(ClientError::SentAway(r)) if r.code == Code::Revoked));
}

#[tokio::test(start_paused = true)]
async fn the_server_says_when_to_come_back() {
    let (mut server, _client, mut session) = connected().await;
    let start = Instant::now();
    session.say(ServerMessage::GoAway { refusal: Refusal::passing(Code::Draining, "", 8_000) }).await;
    let (_, waited) = tokio::join!(
        async {
            let _ = tokio::time::timeout(Duration::from_secs(12), session.hear()).await;
        },
        async {
            let _login = server.login().await;
            start.elapsed()
        }
    );
    assert!((8..=10).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn sessions_that_are_lost_at_once_are_not_remade_without_pause() {
    let (mut server, client, session) = connected().await;
    session.cut();
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < Duration::from_secs(120) {
        server.login().await.welcome().await.cut();
        rounds += 1;
    }
    assert!((5..110).contains(&rounds), "{rounds} sessions in two minutes");
    drop(client);
}

#[tokio::test]
async fn another_key_than_the_pinned_one_ends_a_client_that_was_never_online() {
    let problem = TlsProblem::NotTunnel;
    let error = soon(Client::builder("x").dialer(Broken(problem)).connect()).await.unwrap_err();
    assert!(error.to_string().contains("tunnel server"), "{error}");
}

struct Broken(TlsProblem);

impl Dial for Broken {
    fn dial(&self) -> BoxFuture<'_, Result<tunnel_io::BoxedIo, DialError>> {
        let server = "x".parse().unwrap();
        Box::pin(async { Err(DialError::Tls { server, problem: self.0.clone() }) })
    }

    fn describe(&self) -> String {
        "x".into()
    }
}

#[tokio::test]
async fn a_listener_serves_visitors_of_one_session_after_another() {
    let (mut server, client, mut session) = connected().await;
    let (listener, id) = tokio::join!(client.tcp().listen(), session.grant("4000"));
    let mut listener = listener.unwrap();
    for round in 0..3u8 {
        let mut visit = session.visit(id).await;
        visit.ready().await;
        let mut conn = soon(listener.accept()).await.unwrap();
        visit.stream.write_all(&[round]).await.unwrap();
        assert_eq!(soon(conn.read_u8()).await.unwrap(), round);
        session.cut();
        soon(conn.read_u8()).await.unwrap_err();
        session = server.login().await.welcome().await;
        session.grant("4000").await;
    }
}

#[tokio::test(start_paused = true)]
async fn ways_that_alternate_call_off_one_attempt_and_not_each() {
    let (mut server, client, session) = connected().await;
    drop(session);
    let _in_the_former_network = server.login().await;
    server.moves_client();
    let login = server.login().await;
    for _ in 0..5 {
        server.moves_client();
        // sleep: by the paused clock
        sleep(Duration::from_secs(1)).await;
    }
    let _session = login.welcome().await;
    client.connected().await.unwrap();
    assert_eq!(server.dials(), 3);
}
