//! More connections for one session.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tunnel_client::{Code, Event, Limits, Refusal};
use tunnel_protocol::{Secret, ServerMessage, SessionId};

use crate::support::{Server, Session, connected, connected_with, event, soon, welcome};

#[tokio::test]
async fn further_lanes_are_dialled_when_wanted_and_carry_visitors() {
    let (mut server, client, mut session) = connected().await;
    let mut events = client.events();
    let (listener, id) = tokio::join!(client.tcp().listen(), session.grant("4000"));
    let mut listener = listener.unwrap();
    session.say(ServerMessage::WantLanes { lanes: 3 }).await;
    let (second, third) = (further(&mut server).await, further(&mut server).await);
    event(&mut events, |event| matches!(event, Event::LaneAdded { lanes: 3 }).then_some(())).await;
    for lane in [&second, &third, &session] {
        let mut visit = lane.visit(id).await;
        visit.ready().await;
        soon(listener.accept()).await.unwrap();
    }
    assert_eq!(server.dials(), 3);
}

#[tokio::test]
async fn a_further_lane_that_dies_is_replaced_and_the_session_lives() {
    let (mut server, client, mut session) = connected().await;
    let mut events = client.events();
    session.say(ServerMessage::WantLanes { lanes: 2 }).await;
    further(&mut server).await.cut();
    event(&mut events, |event| matches!(event, Event::LaneLost { lanes: 1 }).then_some(())).await;
    let _again = further(&mut server).await;
    event(&mut events, |event| matches!(event, Event::LaneAdded { lanes: 2 }).then_some(())).await;
    assert_eq!(client.status().session.unwrap().id, SessionId(1));
}

#[tokio::test]
async fn the_session_dies_with_its_first_lane_and_takes_the_others_along() {
    let (mut server, _client, mut session) = connected().await;
    session.say(ServerMessage::WantLanes { lanes: 2 }).await;
    let mut second = further(&mut server).await;
    session.cut();
    assert!(soon(second.incoming.accept()).await.is_none());
    assert!(server.login().await.hello.attach.is_none(), "a new session");
}

#[tokio::test]
async fn neither_server_nor_client_gets_more_lanes_than_it_may() {
    let few = Limits { max_lanes: 3, ..Limits::default() };
    let (mut server, client, mut session) = connected_with(|builder| builder.limits(few)).await;
    let mut events = client.events();
    session.say(ServerMessage::WantLanes { lanes: u32::MAX }).await;
    let _lanes = (further(&mut server).await, further(&mut server).await);
    event(&mut events, |event| matches!(event, Event::LaneAdded { lanes: 3 }).then_some(())).await;
    session.say(ServerMessage::WantLanes { lanes: u32::MAX - 1 }).await;
    session.say(ServerMessage::Notice { message: "heard".into() }).await;
    event(&mut events, |event| matches!(event, Event::Notice { .. }).then_some(())).await;
    assert!(server.is_quiet() && server.dials() == 3);
}

#[tokio::test(start_paused = true)]
async fn a_lane_refused_for_good_is_not_asked_for_again() {
    let (mut server, _client, mut session) = connected().await;
    session.say(ServerMessage::WantLanes { lanes: 4 }).await;
    for _ in 0..3 {
        server.login().await.refuse(Refusal::permanent(Code::NoSuchSession, "gone")).await;
    }
    let minute = std::time::Duration::from_secs(60);
    let _ = tokio::time::timeout(minute, session.hear()).await;
    assert_eq!(server.dials(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_lane_the_server_has_no_use_for_goes_in_good_order_and_is_not_replaced() {
    let (mut server, client, mut session) = connected().await;
    let mut events = client.events();
    session.say(ServerMessage::WantLanes { lanes: 2 }).await;
    let second = further(&mut server).await;
    event(&mut events, |event| matches!(event, Event::LaneAdded { lanes: 2 }).then_some(())).await;
    session.say(ServerMessage::WantLanes { lanes: 1 }).await;
    session.say(ServerMessage::Notice { message: "heard".into() }).await;
    event(&mut events, |event| matches!(event, Event::Notice { .. }).then_some(())).await;
    second.opener.close();
    event(&mut events, |event| matches!(event, Event::LaneLost { lanes: 1 }).then_some(())).await;
    let minute = std::time::Duration::from_secs(60);
    let _ = tokio::time::timeout(minute, session.hear()).await;
    assert_eq!(server.dials(), 2);

    session.say(ServerMessage::WantLanes { lanes: 2 }).await;
    let _again = further(&mut server).await;
}

#[tokio::test]
async fn what_came_whole_on_a_lane_reaches_the_upstream_though_the_lane_is_gone() {
    let (mut server, client, mut session) = connected().await;
    let mut events = client.events();
    let (listener, id) = tokio::join!(client.tcp().listen(), session.grant("4000"));
    let mut listener = listener.unwrap();
    session.say(ServerMessage::WantLanes { lanes: 2 }).await;
    let second = further(&mut server).await;
    let mut visit = second.visit(id).await;
    visit.ready().await;
    visit.stream.write_all(b"all of it").await.unwrap();
    visit.stream.shutdown().await.unwrap();
    let mut upload = soon(listener.accept()).await.unwrap();
    second.opener.close();
    event(&mut events, |event| matches!(event, Event::LaneLost { .. }).then_some(())).await;
    let mut arrived = Vec::new();
    soon(upload.read_to_end(&mut arrived)).await.unwrap();
    assert_eq!(arrived, b"all of it");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_what_it_asks_for_gets_few_handshakes() {
    let (mut server, _client, mut session) = connected().await;
    session.say(ServerMessage::WantLanes { lanes: 2 }).await;
    let churn = async {
        loop {
            further(&mut server).await.opener.close();
        }
    };
    let minute = std::time::Duration::from_secs(60);
    tokio::select! {
        () = churn => {}
        message = session.hear() => panic!("the client should have nothing to say: {message:?}"),
        () = tokio::time::sleep(minute) => {} // sleep: the clock is paused, this is what moves it
    }
    assert!(server.dials() <= 1 + 16 + 12, "{} dials in a minute", server.dials());
}

async fn further(server: &mut Server) -> Session {
    let login = server.login().await;
    let attach = login.hello.attach.clone().expect("a further lane");
    assert_eq!((attach.session, attach.resume), (SessionId(1), Secret::new([8; 32])));
    login.welcome_with(welcome(1)).await
}
