//! Requests that are sent again, and those that never are.

use std::time::Duration;

use tokio::{
    io::AsyncWriteExt,
    time::{Instant, timeout},
};
use tunnel_protocol::{Code, RequestId, StreamKind, StreamReply};

use super::world::{HANG, World, field};
use crate::{
    dispatch::{self, Visit},
    endpoint::State,
    http::pool::FRESH,
};

fn request(method: &str, body: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_lane_costs_no_request_that_may_be_repeated() {
    for (method, body, is_repeated) in
        [("GET", "", true), ("DELETE", "", true), ("POST", "", false), ("PUT", "x", false)]
    {
        let mut world = World::new();
        let mut first = world.tunnel("a.test");
        let mut second = world.successor(&first);
        let mut visitor = world.visit().await;
        visitor.say(&request(method, body)).await;
        let mut lost = first.accept().await;
        lost.head().await;
        let endpoint = first.die();
        endpoint.set_state(State::Away { until: Instant::now() + Duration::from_secs(60) });
        second.attach();
        if is_repeated {
            let mut upstream = second.accept().await;
            assert!(upstream.head().await.starts_with(&method.to_lowercase()));
            upstream.say(OK).await;
            assert_eq!(visitor.answer().await.1, "ok");
        } else {
            let (head, _) = visitor.answer().await;
            assert!(head.starts_with("http/1.1 502 "), "{method}: {head}");
            assert!(second.is_left_alone().await);
        }
        let retries = world.shared.metrics.retries.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(retries, u64::from(is_repeated));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_repeated_once() {
    let mut world = World::new();
    let mut first = world.tunnel("a.test");
    let mut second = world.successor(&first);
    let mut visitor = world.visit().await;
    visitor.say(&request("GET", "")).await;
    let mut lost = first.accept().await;
    lost.head().await;
    second.attach();
    first.die();
    let mut lost_too = second.accept().await;
    lost_too.head().await;
    let mut third = world.successor(&second);
    third.attach();
    second.die();
    assert!(visitor.answer().await.0.starts_with("http/1.1 502 "));
    assert!(third.is_left_alone().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_leaving_client_refuses_goes_to_its_successor() {
    for code in [Code::Draining, Code::NoSuchTunnel] {
        let mut world = World::new();
        let mut first = world.tunnel("a.test");
        let mut second = world.successor(&first);
        let mut visitor = world.visit().await;
        visitor
            .say("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            .await;
        first.refuse(code).await;
        second.attach();
        let mut upstream = second.accept().await;
        upstream.head().await;
        upstream.say("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(visitor.head().await, "http/1.1 100 continue");
        visitor.say("body").await;
        assert_eq!(upstream.bytes(4).await, "body");
        upstream.say(OK).await;
        assert_eq!(visitor.answer().await.1, "ok");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_a_client_that_is_away() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let away = State::Away { until: Instant::now() + Duration::from_secs(60) };
    client.endpoint.set_state(away);
    let mut visitor = world.visit().await;
    visitor.say(&request("POST", "body")).await;
    assert!(client.is_left_alone().await);
    client.attach();
    let mut upstream = client.accept().await;
    upstream.head().await;
    assert_eq!(upstream.bytes(4).await, "body");
    upstream.say(OK).await;
    assert_eq!(visitor.answer().await.1, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absence_is_answered_with_when_to_come_back() {
    let mut world = World::with(|config| config.timeouts.hold = Duration::ZERO);
    let client = world.tunnel("a.test");
    let away = State::Away { until: Instant::now() + Duration::from_secs(60) };
    client.endpoint.set_state(away);
    let (head, _) = world.get("a.test", "/").await.answer().await;
    assert!(head.starts_with("http/1.1 503 ") && field(&head, "retry-after") == Some("5"), "{head}");
    client.endpoint.set_state(State::Gone);
    let (head, _) = world.get("a.test", "/").await.answer().await;
    assert!(head.starts_with("http/1.1 404 "), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_closed_while_idle_costs_no_request() {
    for (method, body) in [("GET", ""), ("POST", "body")] {
        let mut world = World::new();
        let mut client = world.tunnel("a.test");
        let mut visitor = world.visit().await;
        visitor.say(&request("GET", "")).await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream.say(OK).await;
        visitor.answer().await;
        upstream.io.shutdown().await.unwrap();
        // The server ends its side too: it has noticed.
        let _ = upstream.rest().await;
        visitor.say(&request(method, body)).await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream.say(OK).await;
        assert_eq!(visitor.answer().await.1, "ok");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_repeated_is_kept_from_an_upstream_that_closes_without_a_word() {
    for is_asked in [false, true] {
        let mut world = World::new();
        let mut client = world.tunnel("a.test");
        let mut visitor = world.visit().await;
        visitor.say(&request("GET", "")).await;
        let mut hasty = client.accept().await;
        hasty.head().await;
        hasty.say(OK).await;
        visitor.answer().await;
        if is_asked {
            // As if its end had crossed the request.
            visitor.say(&request("GET", "")).await;
            hasty.head().await;
            drop(hasty);
        } else {
            hasty.io.shutdown().await.unwrap();
            let _ = hasty.rest().await;
            visitor.say(&request("GET", "")).await;
        }
        let mut idle = client.accept().await;
        idle.head().await;
        idle.say(OK).await;
        assert_eq!(visitor.answer().await.1, "ok");
        visitor.say(&request("POST", "body")).await;
        let mut new = client.accept().await;
        new.head().await;
        new.say(OK).await;
        assert_eq!(visitor.answer().await.1, "ok");
        visitor.say(&request("GET", "")).await;
        assert!(new.bytes(4).await == "body" && new.head().await.starts_with("get "), "what can goes on");
        new.say(OK).await;
        assert_eq!(visitor.answer().await.1, "ok");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_closes_under_a_request_is_replaced_if_that_is_harmless() {
    for (method, is_repeated) in [("GET", true), ("POST", false)] {
        let mut world = World::new();
        let mut client = world.tunnel("a.test");
        let mut visitor = world.visit().await;
        visitor.say(&request("GET", "")).await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream.say(OK).await;
        visitor.answer().await;
        visitor.say(&request(method, "")).await;
        upstream.head().await;
        drop(upstream);
        if is_repeated {
            let mut upstream = client.accept().await;
            upstream.head().await;
            upstream.say(OK).await;
            assert_eq!(visitor.answer().await.1, "ok");
        } else {
            assert!(visitor.answer().await.0.starts_with("http/1.1 502 "));
            assert!(client.is_left_alone().await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_client_of_a_pool_loses_or_refuses_goes_to_another_at_once() {
    for refuses in [false, true] {
        let mut world = World::new();
        let mut first = world.tunnel("a.test");
        let mut second = world.successor(&first);
        second.attach_with(&first);
        let mut visitor = world.visit().await;
        visitor.say(&request("GET", "")).await;
        if refuses {
            first.refuse(Code::Draining).await;
        } else {
            let mut lost = first.accept().await;
            lost.head().await;
            // Nobody has taken it out yet.
            first.die();
        }
        let mut upstream = second.accept().await;
        upstream.head().await;
        upstream.say(OK).await;
        assert_eq!(visitor.answer().await.1, "ok");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_streams_to_one_client_of_a_pool_stay_when_another_goes() {
    let mut world = World::new();
    let mut first = world.tunnel("a.test");
    let mut second = world.successor(&first);
    second.attach_with(&first);
    let mut visitor = world.visit().await;
    let mut upstreams = Vec::new();
    for client in [&mut first, &mut second] {
        visitor.say(&request("GET", "")).await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream.say(OK).await;
        assert_eq!(visitor.answer().await.1, "ok");
        upstreams.push(upstream);
    }
    second.attach();
    let mut kept = upstreams.pop().unwrap();
    assert_eq!(upstreams.pop().unwrap().rest().await.0, "", "the one to the client that left is closed");
    visitor.say(&request("GET", "")).await;
    kept.head().await;
    kept.say(OK).await;
    assert_eq!(visitor.answer().await.1, "ok");
    assert!(second.is_left_alone().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_client_of_a_pool_can_not_reach_another_is_asked_for_with_the_body() {
    use Code::{ClientBusy, UpstreamRefused, UpstreamTimeout, UpstreamTls, UpstreamUnreachable};
    for code in [UpstreamRefused, UpstreamUnreachable, UpstreamTimeout, UpstreamTls, ClientBusy] {
        for (method, body) in [("GET", ""), ("POST", "body")] {
            let mut world = World::new();
            let mut first = world.tunnel("a.test");
            let mut second = world.successor(&first);
            second.attach_with(&first);
            let mut visitor = world.visit().await;
            visitor.say(&request(method, body)).await;
            first.refuse(code).await;
            let mut upstream = second.accept().await;
            assert!(upstream.head().await.starts_with(&method.to_lowercase()));
            assert_eq!(upstream.bytes(body.len()).await, body);
            upstream.say(OK).await;
            assert_eq!(visitor.answer().await.1, "ok", "{code}");
            assert!(first.target.reach.is_failing(), "{code}: others come first from now on");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_alone_is_asked_once() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    for _ in 0..2 {
        let mut visitor = world.visit().await;
        visitor.say(&request("GET", "")).await;
        client.refuse(Code::UpstreamRefused).await;
        assert!(visitor.answer().await.0.starts_with("http/1.1 502 "));
        assert!(client.is_left_alone().await);
        client.target.reach.hasten();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_reaches_nothing_says_so_after_each_was_asked() {
    let mut world = World::new();
    let mut first = world.tunnel("a.test");
    let mut second = world.successor(&first);
    second.attach_with(&first);
    let mut visitor = world.visit().await;
    visitor.say(&request("GET", "")).await;
    first.refuse(Code::UpstreamRefused).await;
    second.refuse(Code::UpstreamRefused).await;
    let (head, _) = visitor.answer().await;
    assert_eq!(field(&head, "tunnel-error"), Some("upstream-refused"), "{head}");
    assert!(first.is_left_alone().await && second.is_left_alone().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_a_pool_that_fails_comes_last_until_its_upstream_is_back() {
    let mut world = World::new();
    let mut first = world.tunnel("a.test");
    let mut second = world.successor(&first);
    second.attach_with(&first);
    first.target.reach.failed(Code::UpstreamRefused);
    let mut busy = Vec::new();
    for _ in 0..3 {
        let visitor = world.get("a.test", "/").await;
        busy.push((visitor, second.accept().await));
    }
    assert!(first.is_left_alone().await, "though it has nobody");
    first.target.reach.hasten();
    // One visitor finds out, and loses nothing by it.
    let mut visitor = world.visit().await;
    visitor.say(&request("POST", "body")).await;
    let (_, mut trial) = first.accept_raw().await;
    trial.io.write_all(&StreamReply::Accepted.encode()).await.unwrap();
    trial.io.write_all(&StreamReply::Refused(Code::UpstreamRefused).encode()).await.unwrap();
    assert_eq!(trial.rest().await.0, "", "nothing was sent");
    let mut upstream = second.accept().await;
    upstream.head().await;
    assert_eq!(upstream.bytes(4).await, "body");
    upstream.say(OK).await;
    assert_eq!(visitor.answer().await.1, "ok");
    first.target.reach.hasten();
    for _ in 0..2 {
        let visitor = world.get("a.test", "/").await;
        let mut upstream = first.accept().await;
        upstream.head().await;
        busy.push((visitor, upstream));
        assert!(!first.target.reach.is_failing(), "the least busy is the least busy again");
    }
    for (visitor, upstream) in &mut busy {
        upstream.say(OK).await;
        assert_eq!(visitor.answer().await.1, "ok");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_stream_gives_way_to_a_new_one_that_is_opened_in_its_stead() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.visit().await;
    visitor.say(&request("GET", "")).await;
    let mut idle = client.accept().await;
    idle.head().await;
    idle.say(OK).await;
    visitor.answer().await;
    // sleep: a POST takes no stream that was idle for so long, by the clock
    tokio::time::sleep(FRESH + Duration::from_millis(100)).await;
    visitor.say(&request("POST", "body")).await;
    assert_eq!(idle.rest().await.0, "", "ended");
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say(OK).await;
    assert_eq!(visitor.answer().await.1, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_client_of_a_pool_is_not_asked_again_for_a_while() {
    let mut world = World::new();
    let mut first = world.tunnel("a.test");
    let mut second = world.successor(&first);
    second.attach_with(&first);
    let mut visitor = world.visit().await;
    visitor.say(&request("GET", "")).await;
    first.refuse(Code::ClientBusy).await;
    let mut busy = vec![(visitor, second.accept().await)];
    for _ in 0..3 {
        let visitor = world.get("a.test", "/").await;
        busy.push((visitor, second.accept().await));
    }
    assert!(first.is_left_alone().await, "though it has nobody");
    first.target.reach.hasten();
    busy.push((world.get("a.test", "/").await, first.accept().await));
    for (visitor, upstream) in &mut busy {
        upstream.head().await;
        upstream.say(OK).await;
        assert_eq!(visitor.answer().await.1, "ok");
    }
    assert!(!first.target.reach.is_failing(), "it has room again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_client_loses_an_idle_stream_for_each_visitor_it_refuses_and_no_more() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut exchanges = Vec::new();
    for _ in 0..3 {
        exchanges.push((world.get("a.test", "/").await, client.accept().await));
    }
    let pool = client.target.clone();
    let idle = async |count| {
        while pool.pool.idle() != count {
            tokio::task::yield_now().await;
        }
    };
    for (place, (visitor, upstream)) in exchanges.iter_mut().enumerate() {
        upstream.head().await;
        upstream.say(OK).await;
        assert_eq!(visitor.answer().await.1, "ok");
        timeout(HANG, idle(place + 1)).await.unwrap();
    }
    for left in [2, 1] {
        let visit = Visit { request: RequestId(1), visitor: world.address, local: world.address };
        let endpoint = client.endpoint.clone();
        let opening = dispatch::open(&endpoint, StreamKind::Tcp, visit, None, None);
        let (stream, (_, mut refusing)) = tokio::join!(opening, client.accept_raw());
        refusing.io.write_all(&StreamReply::Refused(Code::ClientBusy).encode()).await.unwrap();
        assert!(stream.unwrap().ready().await.is_err());
        assert_eq!(exchanges.remove(0).1.rest().await.0, "", "it gave way");
        assert_eq!(pool.pool.idle(), left);
    }
    let (visitor, upstream) = &mut exchanges[0];
    visitor.say(&request("GET", "")).await;
    upstream.head().await;
    upstream.say(OK).await;
    assert_eq!(visitor.answer().await.1, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_to_a_second_client_is_counted_once() {
    for (method, body) in [("GET", ""), ("POST", "a body")] {
        let mut counts = Vec::new();
        for refusals in [0, 1] {
            let mut world = World::new();
            let mut records = world.shared.records.subscribe(false);
            let mut first = world.tunnel("a.test");
            let mut second = world.successor(&first);
            second.attach_with(&first);
            let mut visitor = world.visit().await;
            visitor.say(&request(method, body)).await;
            if refusals > 0 {
                let (_, mut refusing) = first.accept_raw().await;
                refusing.head().await;
                assert_eq!(refusing.bytes(body.len()).await, body, "all of it was sent");
                refusing.io.write_all(&StreamReply::Refused(Code::UpstreamRefused).encode()).await.unwrap();
            }
            let mut upstream = if refusals > 0 { second.accept().await } else { first.accept().await };
            upstream.head().await;
            assert_eq!(upstream.bytes(body.len()).await, body);
            upstream.say(OK).await;
            assert_eq!(visitor.answer().await.1, "ok");
            let record = timeout(HANG, records.recv()).await.unwrap().unwrap();
            assert_eq!(record.bytes_in, body.len() as u64);
            let (traffic, account) = (first.target.tally.traffic(), first.target.tally.account().usage());
            assert_eq!(traffic.bytes_in, account.bytes_in);
            counts.push(traffic.bytes_in);
        }
        assert!(counts[0] > body.len() as u64 && counts[0] == counts[1], "{method}: {counts:?}");
    }
}
