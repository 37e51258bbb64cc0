//! Visitors whose first bytes come twice: whichever stream is first serves, and the upstream sees one visitor.

use std::io::ErrorKind;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tunnel_client::{Client, Conn, Event, Limits, Listener, Tunnel};
use tunnel_protocol::{ServerMessage, StreamReply, TunnelId, Twin, limits::TWIN_BYTES};

use crate::support::{Server, Session, Upstream, Visit, connected_with, event, soon, welcome};

/// A client with two lanes and a tunnel.
struct World<T> {
    _server: Server,
    client: Client,
    first: Session,
    second: Session,
    tunnel: T,
    id: TunnelId,
}

/// A tunnel whose visitors the test serves.
async fn listening() -> World<Listener> {
    listening_with(Limits::default()).await
}

/// The same of a client that takes on as much.
async fn listening_with(limits: Limits) -> World<Listener> {
    let World { _server, client, mut first, second, .. } = two_lanes(limits).await;
    let (listener, id) = tokio::join!(client.tcp().listen(), first.grant("4000"));
    World { _server, client, first, second, tunnel: listener.unwrap(), id }
}

/// A tunnel whose visitors are forwarded to an upstream.
async fn forwarding() -> (World<Tunnel>, Upstream) {
    let World { _server, client, mut first, second, .. } = two_lanes(Limits::default()).await;
    let upstream = Upstream::new().await;
    let (tunnel, id) = tokio::join!(client.tcp().forward(upstream.address()), first.grant("4000"));
    (World { _server, client, first, second, tunnel: tunnel.unwrap(), id }, upstream)
}

/// No tunnel yet.
async fn two_lanes(limits: Limits) -> World<()> {
    let (mut server, client, mut first) = connected_with(|builder| builder.limits(limits)).await;
    let mut events = client.events();
    first.say(ServerMessage::WantLanes { lanes: 2 }).await;
    let second = server.login().await.welcome_with(welcome(1)).await;
    event(&mut events, |event| matches!(event, Event::LaneAdded { lanes: 2 }).then_some(())).await;
    World { _server: server, client, first, second, tunnel: (), id: TunnelId(0) }
}

impl<T> World<T> {
    /// A visitor's primary, on the session's first lane.
    async fn primary(&self, number: u64) -> Visit {
        self.first.open_of_pair(self.id, Twin::Expected(number)).await
    }

    /// A visitor's twin, on the other.
    async fn twin(&self, number: u64) -> Visit {
        self.second.open_of_pair(self.id, Twin::Of(number)).await
    }
}

impl World<Listener> {
    /// The next visitor, as whoever serves it has it.
    async fn accept(&mut self) -> Conn {
        soon(self.tunnel.accept()).await.unwrap()
    }
}

/// Waits until the client knows that it has lost a lane, as `lose` has it lose one.
async fn lost_lane(client: &Client, lose: impl FnOnce()) {
    let mut events = client.events();
    lose();
    event(&mut events, |event| matches!(event, Event::LaneLost { .. }).then_some(())).await;
}

/// The client has the stream, and the visitor's upstream is there.
async fn is_begun(visit: &mut Visit) {
    assert_eq!(visit.reply().await, StreamReply::Accepted);
    visit.ready().await;
}

/// What the visitor said reaches whoever serves it.
async fn hears(mut server: impl AsyncRead + Unpin, said: &[u8]) {
    let mut heard = vec![0; said.len()];
    soon(server.read_exact(&mut heard)).await.unwrap();
    assert_eq!(heard, said);
}

/// The other side has said all, in order.
async fn is_at_end(mut stream: impl AsyncRead + Unpin) {
    assert_eq!(soon(stream.read(&mut [0; 1])).await.unwrap(), 0);
}

/// The other side has broken off, whatever came before.
async fn is_reset(mut stream: impl AsyncRead + Unpin) {
    let error = soon(stream.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_twin_that_comes_first_is_served_and_its_primary_goes_on() {
    let (world, upstream) = forwarding().await;
    let mut twin = world.twin(1).await;
    let mut local = upstream.accept().await;
    is_begun(&mut twin).await;
    twin.stream.write_all(b"ask").await.unwrap();
    hears(&mut local, b"ask").await;
    local.write_all(b"answer").await.unwrap();
    twin.says(b"answer").await;

    let mut primary = world.primary(1).await;
    primary.stream.write_all(b"ask more").await.unwrap();
    is_begun(&mut primary).await;
    primary.says(b"answer").await;
    // Each byte once.
    hears(&mut local, b" more").await;
    assert_eq!(world.client.status().visitors, 1);

    let long = vec![7; 2 * TWIN_BYTES];
    local.write_all(&long).await.unwrap();
    primary.says(&long).await;
    drop(local);
    is_at_end(&mut primary.stream).await;
    primary.stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(twin.stream.read_to_end(&mut rest)).await;
    assert_eq!(rest.len(), TWIN_BYTES - 2 - b"answer".len(), "replies count");
    // The upstream's next connection is the next visitor's.
    let mut other = world.first.visit(world.id).await;
    let _local = upstream.accept().await;
    other.ready().await;
}

#[tokio::test]
async fn a_twin_that_comes_later_gets_what_was_said_and_is_no_visitor_more() {
    let mut world = listening_with(Limits { max_visitors: 1, ..Limits::default() }).await;
    let mut primary = world.primary(1).await;
    is_begun(&mut primary).await;
    let mut conn = world.accept().await;
    conn.write_all(b"hello").await.unwrap();
    primary.says(b"hello").await;

    let mut twin = world.twin(1).await;
    assert_eq!(twin.reply().await, StreamReply::Accepted, "at once, whoever looks after the visitor");
    twin.stream.write_all(b"ask").await.unwrap();
    hears(&mut conn, b"ask").await;
    twin.ready().await;
    twin.says(b"hello").await;
    assert_eq!(world.client.status().visitors, 1);
}

#[tokio::test(start_paused = true)]
async fn a_visitor_outlives_the_lane_of_its_twin() {
    let mut world = listening().await;
    let mut twin = world.twin(1).await;
    is_begun(&mut twin).await;
    let mut conn = world.accept().await;
    let mut primary = world.primary(1).await;
    assert_eq!(primary.reply().await, StreamReply::Accepted);
    // What looks after the visitor is where the primary is before it is told more.
    conn.write_all(b"hello").await.unwrap();
    primary.ready().await;
    primary.says(b"hello").await;
    lost_lane(&world.client, || world.second.cut()).await;
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    primary.stream.write_all(b"still here").await.unwrap();
    hears(&mut conn, b"still here").await;
}

#[tokio::test]
async fn a_forwarded_visitor_outlives_the_lane_of_its_twin() {
    let (world, upstream) = forwarding().await;
    let mut twin = world.twin(1).await;
    let mut local = upstream.accept().await;
    is_begun(&mut twin).await;
    let mut primary = world.primary(1).await;
    is_begun(&mut primary).await;
    // The lane's own task ends after this only if nobody is on it.
    lost_lane(&world.client, || world.second.opener.close()).await;
    primary.stream.write_all(b"still here").await.unwrap();
    hears(&mut local, b"still here").await;
    local.write_all(b"so am I").await.unwrap();
    primary.says(b"so am I").await;
}

#[tokio::test]
async fn a_twin_whose_lane_is_lost_waits_for_its_primary() {
    let mut world = listening().await;
    let mut twin = world.twin(1).await;
    is_begun(&mut twin).await;
    let mut conn = world.accept().await;
    lost_lane(&world.client, || world.second.cut()).await;
    conn.write_all(b"hello").await.unwrap();
    let mut primary = world.first.open_of_pair(world.id, Twin::Expected(1)).await;
    primary.stream.write_all(b"ask").await.unwrap();
    hears(&mut conn, b"ask").await;
    is_begun(&mut primary).await;
    primary.says(b"hello").await;
}

#[tokio::test]
async fn a_lost_primary_is_a_cut_whatever_its_twin_carried() {
    let mut world = listening().await;
    let mut primary = world.primary(1).await;
    is_begun(&mut primary).await;
    let mut conn = world.accept().await;
    let mut twin = world.twin(1).await;
    assert_eq!(twin.reply().await, StreamReply::Accepted);
    twin.stream.write_all(b"ask").await.unwrap();
    hears(&mut conn, b"ask").await;
    primary.stream.reset();
    is_reset(&mut conn).await;
    is_reset(twin.stream).await;
}

#[tokio::test]
async fn a_twin_reset_before_its_primary_came_is_a_cut_and_the_primary_begins_nothing() {
    let mut world = listening().await;
    let mut twin = world.twin(1).await;
    is_begun(&mut twin).await;
    let mut conn = world.accept().await;
    twin.stream.reset();
    is_reset(&mut conn).await;
    drop(conn);
    is_reset(world.primary(1).await.stream).await;
    // The next that is accepted is the next visitor.
    let mut other = world.first.visit(world.id).await;
    other.ready().await;
    world.accept().await;
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_never_comes_ends_its_visitor_with_a_reset() {
    let mut world = listening().await;
    // On the lane whose heartbeat is answered.
    let mut twin = world.first.open_of_pair(world.id, Twin::Of(1)).await;
    is_begun(&mut twin).await;
    let mut conn = world.accept().await;
    let mut byte = [0; 1];
    let error = tokio::select! {
        read = soon(conn.read(&mut byte)) => read.unwrap_err(),
        message = world.first.hear() => panic!("the client should have nothing to say: {message:?}"),
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    is_reset(twin.stream).await;
    drop(conn);
    is_reset(world.primary(1).await.stream).await;
}

#[tokio::test]
async fn whichever_comes_when_all_is_over_begins_nothing() {
    let mut world = listening().await;
    let mut primary = world.primary(1).await;
    is_begun(&mut primary).await;
    let conn = world.accept().await;
    drop(conn);
    is_reset(primary.stream).await;
    is_reset(world.twin(1).await.stream).await;
    let mut other = world.first.visit(world.id).await;
    other.ready().await;
    world.accept().await;
}

#[tokio::test]
async fn one_of_a_kind_is_enough() {
    let mut world = listening().await;
    let mut primary = world.primary(1).await;
    is_begun(&mut primary).await;
    is_reset(world.primary(1).await.stream).await;
    let mut twin = world.twin(2).await;
    is_begun(&mut twin).await;
    is_reset(world.twin(2).await.stream).await;
    // Those that were first are served.
    let mut conn = world.accept().await;
    conn.write_all(b"one").await.unwrap();
    primary.says(b"one").await;
    let mut conn = world.accept().await;
    conn.write_all(b"two").await.unwrap();
    twin.says(b"two").await;
}

#[tokio::test]
async fn a_refusal_reaches_both() {
    let world = listening().await;
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
    let mut world = listening().await;
    let mut twin = world.twin(1).await;
    is_begun(&mut twin).await;
    let mut conn = world.accept().await;
    twin.stream.write_all(b"ask").await.unwrap();
    twin.stream.shutdown().await.unwrap();
    hears(&mut conn, b"ask").await;
    conn.write_all(b"answer").await.unwrap();
    let (done, ()) = tokio::join!(soon(conn.shutdown()), async {
        twin.says(b"answer").await;
        is_at_end(&mut twin.stream).await;
        // The server has all, and the visitor's end is said: it lets go of both.
        let mut primary = world.primary(1).await;
        primary.stream.write_all(b"ask").await.unwrap();
        primary.stream.shutdown().await.unwrap();
    });
    done.unwrap();
    // And no reset.
    is_at_end(conn).await;
}

#[tokio::test]
async fn a_twin_that_came_from_a_lost_lane_is_nothing_to_its_primary() {
    let mut world = listening().await;
    let twin = world.twin(1).await;
    lost_lane(&world.client, || world.second.opener.close()).await;
    let mut primary = world.first.open_of_pair(world.id, Twin::Expected(1)).await;
    is_begun(&mut primary).await;
    let mut conn = world.accept().await;
    conn.write_all(b"hello").await.unwrap();
    primary.says(b"hello").await;
    drop(twin);
}
