//! Visitors over HTTP/2 that still send when their answer is there: they can look at it, and hold nothing for long.

use std::{future::poll_fn, time::Duration};

use ::h2::Reason;
use ::http::Request;
use bytes::Bytes;
use tokio::time::timeout;

use super::{
    http2::{Visitor, whole},
    world::{HANG, World},
};

/// A server at which nobody is stopped as long as a test takes.
fn patient() -> World {
    World::with(|config| config.timeouts.linger = 2 * HANG)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_that_still_sends_can_look_at_its_answer_before_it_is_stopped() {
    let mut world = patient();
    let mut client = world.tunnel("a.test");
    let mut visitor = Visitor::new(&world).await;
    for (url, status) in [("http://a.test/", 413), ("http://b.test/", 404)] {
        let request = Request::put(url).header("content-length", "9").body(()).unwrap();
        let (answer, mut body) = visitor.send(request, false).await;
        body.send_data("abc".into(), false).unwrap();
        if status == 413 {
            let mut upstream = client.accept().await;
            upstream.head().await;
            upstream.say("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig").await;
        }
        let (answer, _) = whole(timeout(HANG, answer).await.unwrap().unwrap()).await;
        assert_eq!(answer.status(), status);
        // Whatever was said before this answer has arrived with it.
        visitor.get("http://b.test/").await;
        let reset = poll_fn(|cx| std::task::Poll::Ready(body.poll_reset(cx))).await;
        assert!(reset.is_pending(), "{reset:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_that_sends_without_end_is_stopped() {
    let world = World::with(|config| config.timeouts.linger = Duration::from_millis(100));
    let mut visitor = Visitor::new(&world).await;
    let request = Request::put("http://b.test/").body(()).unwrap();
    let (answer, mut body) = visitor.send(request, false).await;
    whole(timeout(HANG, answer).await.unwrap().unwrap()).await;
    let reset = timeout(HANG, poll_fn(|cx| body.poll_reset(cx))).await.unwrap();
    assert_eq!(reset.unwrap(), Reason::NO_ERROR);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_has_so_many_streams_that_are_kept_for_a_look_and_no_more() {
    let world = patient();
    let mut visitor = Visitor::new(&world).await;
    let put = || Request::put("http://b.test/").body(()).unwrap();
    let (answer, mut first) = visitor.send(put(), false).await;
    whole(timeout(HANG, answer).await.unwrap().unwrap()).await;
    // Each is over at once, and yet kept.
    for _ in 1..100 {
        let (answer, mut body) = visitor.send(put(), false).await;
        whole(timeout(HANG, answer).await.unwrap().unwrap()).await;
        body.send_data(Bytes::new(), true).unwrap();
    }
    let (answer, mut last) = visitor.send(put(), false).await;
    whole(timeout(HANG, answer).await.unwrap().unwrap()).await;
    let sooner = async {
        tokio::select! {
            biased;
            reset = poll_fn(|cx| last.poll_reset(cx)) => reset.unwrap(),
            _ = poll_fn(|cx| first.poll_reset(cx)) => panic!("the first was kept for a shorter time than the last"),
        }
    };
    assert_eq!(timeout(HANG, sooner).await.unwrap(), Reason::NO_ERROR);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_came_whole_and_is_refused_unread_takes_no_place_of_those_that_are_kept() {
    let world = patient();
    let mut visitor = Visitor::new(&world).await;
    let put = || Request::put("http://b.test/").body(()).unwrap();
    // The end of some may come behind the answer, but not of all.
    for _ in 0..100 {
        let (answer, mut body) = visitor.send(put(), false).await;
        body.send_data("abc".into(), true).unwrap();
        whole(timeout(HANG, answer).await.unwrap().unwrap()).await;
    }
    let (answer, mut body) = visitor.send(put(), false).await;
    whole(timeout(HANG, answer).await.unwrap().unwrap()).await;
    visitor.get("http://b.test/").await;
    let reset = poll_fn(|cx| std::task::Poll::Ready(body.poll_reset(cx))).await;
    assert!(reset.is_pending(), "{reset:?}");
}
