//! Clients that are far away: a new stream's first bytes come on two lanes, and are answered on either.

use tunnel_protocol::{Code, StreamReply, Twin, limits::TWIN_BYTES};

use super::world::{Client, Lane, Upstream, World, get};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A client far away, with two lanes.
fn far(world: &mut World) -> (Client, Lane) {
    let client = world.tunnel("a.test");
    let other = world.lane_of(&client);
    client.target.session.set_far();
    (client, other)
}

/// The two streams of the next new visitor: the primary and its twin.
async fn pair(client: &mut Client, other: &mut Lane) -> (Upstream, Upstream) {
    let (one, other) = tokio::join!(client.accept_raw(), other.accept_raw());
    let ((primary, primaries), (twin, twins)) = match one.0.twin {
        Some(Twin::Expected(_)) => (one, other),
        _ => (other, one),
    };
    let (Some(Twin::Expected(number)), Some(Twin::Of(of))) = (primary.twin, twin.twin) else {
        panic!("{primary:?} {twin:?}");
    };
    assert_eq!(number, of);
    assert_eq!((primary.tunnel, primary.request, primary.kind), (twin.tunnel, twin.request, twin.kind));
    (primaries, twins)
}

async fn reply(upstream: &mut Upstream, reply: StreamReply) {
    let byte = reply.encode().iter().map(|byte| char::from(*byte)).collect::<String>();
    upstream.say(&byte).await;
}

async fn begin(upstream: &mut Upstream) {
    reply(upstream, StreamReply::Accepted).await;
    reply(upstream, StreamReply::Ready).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_comes_on_both_and_the_first_answer_counts() {
    for silent in [0, 1] {
        let mut world = World::new();
        let (mut client, mut other) = far(&mut world);
        let mut visitor = world.get("a.test", "/one").await;
        let (primary, twin) = pair(&mut client, &mut other).await;
        assert_eq!(client.target.session.streams(), 1, "a twin takes no place");
        let mut both = [primary, twin];
        for stream in &mut both {
            assert!(stream.head().await.starts_with("get /one "));
        }
        begin(&mut both[1 - silent]).await;
        both[1 - silent].say(OK).await;
        assert_eq!(visitor.answer().await.1, "ok");

        // The next request goes on the same, and the slower one catches up.
        visitor.say(&get("a.test", "/two")).await;
        for stream in &mut both {
            assert!(stream.head().await.starts_with("get /two "));
        }
        begin(&mut both[silent]).await;
        both[silent].say(OK).await;
        both[silent].say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo").await;
        assert_eq!(visitor.answer().await.1, "two");
        assert!(client.is_left_alone().await && other.is_left_alone().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_first_bytes_only_the_primary_carries_anything() {
    let mut world = World::new();
    let (mut client, mut other) = far(&mut world);
    let mut visitor = world.visit().await;
    let body = "x".repeat(2 * TWIN_BYTES);
    let request = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    visitor.say(&request).await;
    let (mut primary, mut twin) = pair(&mut client, &mut other).await;
    primary.head().await;
    assert_eq!(primary.bytes(body.len()).await, body);
    begin(&mut primary).await;
    primary.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    assert_eq!(visitor.answer().await.1, body);
    let (said, end) = twin.rest().await;
    assert_eq!(said.len(), TWIN_BYTES);
    assert!(end.is_err(), "dropped, not ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_breaks_is_a_cut_and_a_twin_that_breaks_is_nothing() {
    let mut world = World::new();
    let (mut client, mut other) = far(&mut world);
    let mut visitor = world.get("a.test", "/").await;
    let (mut primary, mut twin) = pair(&mut client, &mut other).await;
    primary.head().await;
    begin(&mut twin).await;
    twin.say("HTTP/1.1 200 OK\r\n\r\nhel").await;
    visitor.head().await;
    assert_eq!(visitor.bytes(8).await, "3\r\nhel\r\n");
    drop(twin);
    begin(&mut primary).await;
    primary.say("HTTP/1.1 200 OK\r\n\r\nhello").await;
    assert_eq!(visitor.bytes(7).await, "2\r\nlo\r\n");
    drop(primary);
    assert_eq!(visitor.rest().await.0, "", "no end");
    assert!(client.is_left_alone().await && other.is_left_alone().await);

    let mut visitor = world.get("a.test", "/").await;
    let (primary, mut twin) = pair(&mut client, &mut other).await;
    begin(&mut twin).await;
    twin.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhel").await;
    visitor.head().await;
    assert_eq!(visitor.bytes(3).await, "hel");
    drop(primary);
    assert_eq!(visitor.rest().await.0, "", "what the twin carries is worth nothing then");
    assert!(twin.rest().await.1.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_on_either_is_one() {
    let mut world = World::new();
    let (mut client, mut other) = far(&mut world);
    let mut visitor = world.get("a.test", "/").await;
    let (_primary, mut twin) = pair(&mut client, &mut other).await;
    reply(&mut twin, StreamReply::Accepted).await;
    let code = Code::UpstreamRefused.number().to_be_bytes();
    tokio::io::AsyncWriteExt::write_all(&mut twin.io, &[3, code[0], code[1]]).await.unwrap();
    assert!(visitor.head().await.contains("tunnel-error: upstream-refused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_near_or_does_not_understand_or_has_one_lane_gets_no_twin() {
    let mut world = World::new();
    let mut near = world.tunnel("near.test");
    let mut lanes = vec![world.lane_of(&near)];
    let mut alone = world.tunnel("alone.test");
    alone.target.session.set_far();
    world.twins = false;
    let mut old = world.tunnel("old.test");
    lanes.push(world.lane_of(&old));
    old.target.session.set_far();
    for (host, client) in [("near.test", &mut near), ("alone.test", &mut alone), ("old.test", &mut old)] {
        let mut visitor = world.get(host, "/").await;
        let (header, mut upstream) = client.accept_raw().await;
        assert_eq!(header.twin, None, "{host}");
        begin(&mut upstream).await;
        upstream.say(OK).await;
        assert_eq!(visitor.answer().await.1, "ok");
    }
    for lane in &mut lanes {
        assert!(lane.is_left_alone().await);
    }
}
