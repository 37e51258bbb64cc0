//! What upstreams do that is odd, and what becomes of their streams.

use tokio::io::AsyncWriteExt;
use tunnel_protocol::Code;

use super::world::{World, field};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A visitor that sends all before it reads must not be waited for by an upstream that answers as it reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_on_while_nobody_takes_its_answer() {
    const SIZE: usize = 16 << 20;
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.visit().await;
    visitor.say(&format!("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {SIZE}\r\n\r\n")).await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n")).await;
    let (mut from, mut to) = tokio::io::split(&mut upstream.io);
    let (whole, is_whole) = tokio::sync::oneshot::channel();
    let answer = async {
        to.write_all(&vec![b'a'; SIZE - 1]).await.unwrap();
        // Who is done with an answer is taken to want no more of the request.
        is_whole.await.unwrap();
        to.write_all(b"a").await.unwrap();
    };
    let request = async {
        let mut counted = tokio::io::sink();
        let mut from = tokio::io::AsyncReadExt::take(&mut from, SIZE as u64);
        let sent = tokio::io::copy(&mut from, &mut counted).await.unwrap();
        whole.send(()).unwrap();
        sent
    };
    let visit = async {
        visitor.io.write_all(&vec![b'r'; SIZE]).await.unwrap();
        visitor.answer().await.1.len()
    };
    let ((), sent, got) = tokio::join!(answer, request, visit);
    assert_eq!((sent, got), (SIZE as u64, SIZE));
}

/// What is left of an upload is read for the next request's sake if it isn't much, and else the connection is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_refused_early_hears_whether_another_request_may_follow() {
    for (status, size, is_last) in [
        ("413 Too Large", 256 * 1024 + 1, true),
        ("503 Service Unavailable", 5 << 20, true),
        ("413 Too Large", 256 * 1024, false),
        // It may be answered as it is read.
        ("200 OK", 5 << 20, false),
    ] {
        let mut world = World::new();
        let mut client = world.tunnel("a.test");
        let mut visitor = world.visit().await;
        visitor.say(&format!("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {size}\r\n\r\n")).await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream.say(&format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno")).await;
        let (head, _) = visitor.answer().await;
        assert_eq!(field(&head, "connection"), is_last.then_some("close"), "{status}, {size} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_may_come_in_pieces_and_behind_others() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.get("a.test", "/").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    for piece in ["HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 10", "2 Processing\r\n\r", "\nHT"] {
        upstream.say(piece).await;
    }
    for byte in &OK.as_bytes()[2..] {
        upstream.say(str::from_utf8(&[*byte]).unwrap()).await;
    }
    let (head, body) = visitor.answer().await;
    assert!(head.starts_with("http/1.1 200 ok\ncontent-length: 2") && body == "ok", "{head}\n{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_or_says_more_than_it_was_asked_is_not_used_again() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n",
    ] {
        let mut world = World::new();
        let mut client = world.tunnel("a.test");
        let mut visitor = world.get("a.test", "/1").await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream.say(answer).await;
        assert_eq!(visitor.answer().await.1, "ok", "{answer:?}");
        assert_eq!(upstream.rest().await.0, "", "ended: {answer:?}");
        visitor.say(&super::world::get("a.test", "/2")).await;
        client.accept().await.head().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_unasked_is_nobodys_answer() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.get("a.test", "/1").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say(OK).await;
    assert_eq!(visitor.answer().await.1, "ok");
    upstream.say("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(upstream.rest().await.0, "", "ended at once, not with the next request");
    visitor.say(&super::world::get("a.test", "/2")).await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say(OK).await;
    assert_eq!(visitor.answer().await.1, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_are_none_cut_the_answer_off() {
    for bad in ["x\r\n", "2\r\nok0\r\n\r\n", "1;a\nb\r\no", "0\r\nX y\r\n\r\n", "fffffffffffffffff\r\n"] {
        let mut world = World::new();
        let mut client = world.tunnel("a.test");
        let mut visitor = world.get("a.test", "/").await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await;
        visitor.head().await;
        assert_eq!(visitor.chunk().await.as_deref(), Some("a"));
        upstream.say(bad).await;
        assert!(upstream.rest().await.1.is_err(), "reset: {bad:?}");
        assert!(!visitor.rest().await.0.contains("0\r\n\r\n"), "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_answers_without_end_are_none() {
    for (count, is_answer) in [(100, true), (101, false)] {
        let mut world = World::new();
        let mut client = world.tunnel("a.test");
        let mut visitor = world.get("a.test", "/").await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream.say(&"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(count)).await;
        if is_answer {
            upstream.say(OK).await;
            assert_eq!(visitor.answer().await.1, "ok");
        } else {
            let (head, page) = visitor.answer().await;
            assert_eq!(field(&head, "tunnel-error"), Some(Code::UpstreamMalformed.name()), "{head}");
            assert!(page.contains("interim"), "{page}");
            assert!(upstream.rest().await.1.is_err(), "reset");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codings_of_an_older_version_are_no_framing() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.get("a.test", "/").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert_eq!(field(&visitor.head().await, "tunnel-error"), Some(Code::UpstreamMalformed.name()));
}
