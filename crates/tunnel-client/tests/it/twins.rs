//! Visitors whose first bytes come twice: whichever stream is first serves, and the upstream sees one visitor.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tunnel_client::{Client, Event, Limits, Listener};
use tunnel_protocol::{ServerMessage, StreamReply, TunnelId, Twin, limits::TWIN_BYTES};

use crate::support::{Server, Session, Upstream, Visit, connected_with, event, soon, welcome};

/// A client with two lanes and a tunnel whose visitors the test serves.
struct World {
    server: Server,
    client: Client,
    first: Session,
    second: Session,
    listener: Listener,
    id: TunnelId,
}

async fn world() -> World {
    let (mut server, client, mut first) = connected_with(|builder| builder).await;
    let second = further(&mut server, &client, &mut first).await;
    let (listener, id) = tokio::join!(client.tcp().listen(), first.grant("4000"));
    World { server, client, first, second, listener: listener.unwrap(), id }
}

async fn further(server: &mut Server, client: &Client, first: &mut Session) -> Session {
    let mut events = client.events();
    first.say(ServerMessage::WantLanes { lanes: 2 }).await;
    let second = server.login().await.welcome_with(welcome(1)).await;
    event(&mut events, |event| matches!(event, Event::LaneAdded { lanes: 2 }).then_some(())).await;
    second
}

impl World {
    /// A visitor's primary, on the session's first lane.
    async fn primary(&self, number: u64) -> Visit {
        self.first.open_of_pair(self.id, Twin::Expected(number)).await
    }

    /// A visitor's twin, on the other.
    async fn twin(&self, number: u64) -> Visit {
        self.second.open_of_pair(self.id, Twin::Of(number)).await
    }
}

/// The client has the stream, and the visitor's upstream is there.
async fn is_begun(visit: &mut Visit) {
    assert_eq!(visit.reply().await, StreamReply::Accepted);
    visit.ready().await;
}

async fn is_reset(visit: &mut Visit) {
    let mut rest = Vec::new();
    let error = soon(visit.stream.read_to_end(&mut rest)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_twin_that_comes_first_is_served_and_its_primary_goes_on() {
    let (mut server, client, mut first) = connected_with(|builder| builder).await;
    let second = further(&mut server, &client, &mut first).await;
    let upstream = Upstream::new().await;
    let (tunnel, id) = tokio::join!(client.tcp().forward(upstream.address()), first.grant("4000"));
    let _tunnel = tunnel.unwrap();

    let mut twin = second.open_of_pair(id, Twin::Of(1)).await;
    let mut local = upstream.accept().await;
    is_begun(&mut twin).await;
    twin.stream.write_all(b"ask").await.unwrap();
    let mut asked = [0; 3];
    soon(local.read_exact(&mut asked)).await.unwrap();
    local.write_all(b"answer").await.unwrap();
    twin.says(b"answer").await;

    let mut primary = first.open_of_pair(id, Twin::Expected(1)).await;
    primary.stream.write_all(b"ask more").await.unwrap();
    is_begun(&mut primary).await;
    primary.says(b"answer").await;
    let mut more = [0; 5];
    soon(local.read_exact(&mut more)).await.unwrap();
    assert_eq!((&asked, &more), (b"ask", b" more"), "each byte once");
    assert_eq!(client.status().visitors, 1);

    let long = vec![7; 2 * TWIN_BYTES];
    local.write_all(&long).await.unwrap();
    primary.says(&long).await;
    drop(local);
    assert_eq!(soon(primary.stream.read(&mut [0; 1])).await.unwrap(), 0);
    primary.stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(twin.stream.read_to_end(&mut rest)).await;
    assert_eq!(rest.len(), TWIN_BYTES - 2 - b"answer".len(), "replies count");
    // The upstream's next connection is the next visitor's.
    let mut other = first.visit(id).await;
    let _local = upstream.accept().await;
    other.ready().await;
}

#[tokio::test]
async fn a_twin_that_comes_later_gets_what_was_said_and_is_no_visitor_more() {
    let few = Limits { max_visitors: 1, ..Limits::default() };
    let (mut server, client, mut first) = connected_with(|builder| builder.limits(few)).await;
    let second = further(&mut server, &client, &mut first).await;
    let (listener, id) = tokio::join!(client.tcp().listen(), first.grant("4000"));
    let mut listener = listener.unwrap();
    let mut primary = first.open_of_pair(id, Twin::Expected(1)).await;
    is_begun(&mut primary).await;
    let mut conn = soon(listener.accept()).await.unwrap();
    conn.write_all(b"hello").await.unwrap();
    primary.says(b"hello").await;

    let mut twin = second.open_of_pair(id, Twin::Of(1)).await;
    assert_eq!(twin.reply().await, StreamReply::Accepted, "at once, whoever looks after the visitor");
    twin.stream.write_all(b"ask").await.unwrap();
    let mut asked = [0; 3];
    soon(conn.read_exact(&mut asked)).await.unwrap();
    assert_eq!(&asked, b"ask");
    twin.ready().await;
    twin.says(b"hello").await;
    assert_eq!(client.status().visitors, 1);
}

#[tokio::test(start_paused = true)]
async fn a_visitor_outlives_the_lane_of_its_twin() {
    let mut world = world().await;
    let mut events = world.client.events();
    let mut twin = world.twin(1).await;
    is_begun(&mut twin).await;
    let mut conn = soon(world.listener.accept()).await.unwrap();
    let mut primary = world.primary(1).await;
    assert_eq!(primary.reply().await, StreamReply::Accepted);
    // What looks after the visitor is where the primary is before it is told more.
    conn.write_all(b"hello").await.unwrap();
    primary.ready().await;
    primary.says(b"hello").await;
    world.second.cut();
    event(&mut events, |event| matches!(event, Event::LaneLost { .. }).then_some(())).await;
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    primary.stream.write_all(b"still here").await.unwrap();
    let mut said = [0; 10];
    soon(conn.read_exact(&mut said)).await.unwrap();
    assert_eq!(&said, b"still here");
    drop(world.server);
}

#[tokio::test]
async fn a_forwarded_visitor_outlives_the_lane_of_its_twin() {
    let (mut server, client, mut first) = connected_with(|builder| builder).await;
    let mut events = client.events();
    let second = further(&mut server, &client, &mut first).await;
    let upstream = Upstream::new().await;
    let (tunnel, id) = tokio::join!(client.tcp().forward(upstream.address()), first.grant("4000"));
    let _tunnel = tunnel.unwrap();
    let mut twin = second.open_of_pair(id, Twin::Of(1)).await;
    let mut local = upstream.accept().await;
    is_begun(&mut twin).await;
    let mut primary = first.open_of_pair(id, Twin::Expected(1)).await;
    is_begun(&mut primary).await;
    // The lane's own task ends after this only if nobody is on it.
    second.opener.close();
    event(&mut events, |event| matches!(event, Event::LaneLost { .. }).then_some(())).await;
    primary.stream.write_all(b"still here").await.unwrap();
    let mut said = [0; 10];
    soon(local.read_exact(&mut said)).await.unwrap();
    local.write_all(b"so am I").await.unwrap();
    primary.says(b"so am I").await;
}

#[tokio::test]
async fn a_twin_whose_lane_is_lost_waits_for_its_primary() {
    let mut world = world().await;
    let mut events = world.client.events();
    let mut twin = world.twin(1).await;
    is_begun(&mut twin).await;
    let mut conn = soon(world.listener.accept()).await.unwrap();
    world.second.cut();
    event(&mut events, |event| matches!(event, Event::LaneLost { .. }).then_some(())).await;
    conn.write_all(b"hello").await.unwrap();
    let mut primary = world.first.open_of_pair(world.id, Twin::Expected(1)).await;
    primary.stream.write_all(b"ask").await.unwrap();
    let mut asked = [0; 3];
    soon(conn.read_exact(&mut asked)).await.unwrap();
    is_begun(&mut primary).await;
    primary.says(b"hello").await;
}

#[tokio::test]
async fn a_lost_primary_is_a_cut_whatever_its_twin_carried() {
    let mut world = world().await;
    let mut primary = world.primary(1).await;
    is_begun(&mut primary).await;
    let mut conn = soon(world.listener.accept()).await.unwrap();
    let mut twin = world.twin(1).await;
    assert_eq!(twin.reply().await, StreamReply::Accepted);
    twin.stream.write_all(b"ask").await.unwrap();
    soon(conn.read_exact(&mut [0; 3])).await.unwrap();
    primary.stream.reset();
    let error = soon(conn.read(&mut [0; 1])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    is_reset(&mut twin).await;
}

#[tokio::test]
async fn a_twin_reset_before_its_primary_came_is_a_cut_and_the_primary_begins_nothing() {
    let mut world = world().await;
    let mut twin = world.twin(1).await;
    is_begun(&mut twin).await;
    let mut conn = soon(world.listener.accept()).await.unwrap();
    twin.stream.reset();
    let error = soon(conn.read(&mut [0; 1])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    drop(conn);
    is_reset(&mut world.primary(1).await).await;
    // The next that is accepted is the next visitor.
    let mut other = world.first.visit(world.id).await;
    other.ready().await;
    soon(world.listener.accept()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_never_comes_ends_its_visitor_with_a_reset() {
    let mut world = world().await;
    // On the lane whose heartbeat is answered.
    let mut twin = world.first.open_of_pair(world.id, Twin::Of(1)).await;
    is_begun(&mut twin).await;
    let mut conn = soon(world.listener.accept()).await.unwrap();
    let mut byte = [0; 1];
    let error = tokio::select! {
        read = soon(conn.read(&mut byte)) => read.unwrap_err(),
        message = world.first.hear() => panic!("the client should have nothing to say: {message:?}"),
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    is_reset(&mut twin).await;
    drop(conn);
    is_reset(&mut world.primary(1).await).await;
}

#[tokio::test]
async fn whichever_comes_when_all_is_over_begins_nothing() {
    let mut world = world().await;
    let mut primary = world.primary(1).await;
    is_begun(&mut primary).await;
    let conn = soon(world.listener.accept()).await.unwrap();
    drop(conn);
    is_reset(&mut primary).await;
    is_reset(&mut world.twin(1).await).await;
    let mut other = world.first.visit(world.id).await;
    other.ready().await;
    soon(world.listener.accept()).await.unwrap();
}

#[tokio::test]
async fn one_of_a_kind_is_enough() {
    let mut world = world().await;
    let mut primary = world.primary(1).await;
    is_begun(&mut primary).await;
    is_reset(&mut world.primary(1).await).await;
    let mut twin = world.twin(2).await;
    is_begun(&mut twin).await;
    is_reset(&mut world.twin(2).await).await;
    // Those that were first are served.
    let mut conn = soon(world.listener.accept()).await.unwrap();
    conn.write_all(b"one").await.unwrap();
    primary.says(b"one").await;
    let mut conn = soon(world.listener.accept()).await.unwrap();
    conn.write_all(b"two").await.unwrap();
    twin.says(b"two").await;
}

#[tokio::test]
async fn a_refusal_reaches_both() {
    let world = world().await;
    let stray = TunnelId(world.id.0 + 1);
    let mut twin = world.second.open_of_pair(stray, Twin::Of(1)).await;
    assert_eq!(twin.reply().await, StreamReply::Accepted);
    let code = twin.refused().await;
    let mut primary = world.first.open_of_pair(stray, Twin::Expected(1)).await;
    assert_eq!(primary.reply().await, StreamReply::Accepted);
    assert_eq!(primary.refused().await, code);
}

#[tokio::test]
async fn a_primary_that_is_over_when_it_comes_still_tells_the_end() {
    let mut world = world().await;
    let mut twin = world.twin(1).await;
    is_begun(&mut twin).await;
    let mut conn = soon(world.listener.accept()).await.unwrap();
    twin.stream.write_all(b"ask").await.unwrap();
    twin.stream.shutdown().await.unwrap();
    soon(conn.read_exact(&mut [0; 3])).await.unwrap();
    conn.write_all(b"answer").await.unwrap();
    let (done, ()) = tokio::join!(soon(conn.shutdown()), async {
        twin.says(b"answer").await;
        assert_eq!(soon(twin.stream.read(&mut [0; 1])).await.unwrap(), 0);
        // The server has all, and the visitor's end is said: it lets go of both.
        let mut primary = world.primary(1).await;
        primary.stream.write_all(b"ask").await.unwrap();
        primary.stream.shutdown().await.unwrap();
    });
    done.unwrap();
    assert_eq!(soon(conn.read(&mut [0; 1])).await.unwrap(), 0, "an end, and no reset");
}

#[tokio::test]
async fn a_twin_that_came_from_a_lost_lane_is_nothing_to_its_primary() {
    let mut world = world().await;
    let mut events = world.client.events();
    let twin = world.twin(1).await;
    world.second.opener.close();
    event(&mut events, |event| matches!(event, Event::LaneLost { .. }).then_some(())).await;
    let mut primary = world.first.open_of_pair(world.id, Twin::Expected(1)).await;
    is_begun(&mut primary).await;
    let mut conn = soon(world.listener.accept()).await.unwrap();
    conn.write_all(b"hello").await.unwrap();
    primary.says(b"hello").await;
    drop(twin);
}
