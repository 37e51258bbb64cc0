//! Exchanges that break: a part must never pass for the whole, on either side.

use tokio::io::AsyncWriteExt;
use tunnel_protocol::{Code, ServerMessage};

use super::world::{Upstream, World, field};

/// Breaks a stream off after `said`, once that has arrived.
fn cut(upstream: Upstream) {
    drop(upstream);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_answer_is_a_cut_answer() {
    for (asked, said, arrives) in [
        ("GET / HTTP/1.1", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "hello"),
        (
            "GET / HTTP/1.1",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "5\r\nhello\r\n",
        ),
        // Ends with its connection: only the reset tells.
        ("GET / HTTP/1.1", "HTTP/1.1 200 OK\r\n\r\nhello", "5\r\nhello\r\n"),
        ("GET / HTTP/1.0", "HTTP/1.1 200 OK\r\n\r\nhello", "hello"),
        // Not all that speak HTTP/1.0 count.
        ("GET / HTTP/1.0", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "hello"),
    ] {
        let mut world = World::new();
        let mut client = world.tunnel("a.test");
        let mut visitor = world.visit().await;
        visitor.say(&format!("{asked}\r\nHost: a.test\r\n\r\n")).await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream.say(said).await;
        visitor.head().await;
        assert_eq!(visitor.bytes(arrives.len()).await, arrives);
        cut(upstream);
        let (rest, end) = visitor.rest().await;
        assert_eq!(rest, "", "{said:?}");
        // HTTP/1.0 has no other way to say it.
        assert!(end.is_err() || !asked.ends_with("1.0"), "{asked} {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_before_a_cut_arrives_also_if_it_came_together_with_it() {
    for (said, arrives) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "hello"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "5\r\nhello\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nno chunk", "5\r\nhello\r\n"),
    ] {
        let mut world = World::new();
        let mut client = world.tunnel("a.test");
        let mut visitor = world.get("a.test", "/").await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream.say(said).await;
        cut(upstream);
        visitor.head().await;
        assert_eq!(visitor.rest().await.0, arrives, "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_that_hangs_up_resets_the_stream() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");

    let waiting = world.get("a.test", "/").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    drop(waiting);
    assert!(upstream.rest().await.1.is_err(), "while it waits");

    let mut reading = world.get("a.test", "/").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say("HTTP/1.1 200 OK\r\n\r\nhello").await;
    reading.head().await;
    drop(reading);
    assert!(upstream.rest().await.1.is_err(), "while it reads");

    let mut sending = world.visit().await;
    sending.say("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    assert_eq!(upstream.chunk().await.as_deref(), Some("hello"));
    drop(sending);
    let (rest, end) = upstream.rest().await;
    assert_eq!(rest, "", "no last chunk");
    assert!(end.is_err(), "while it sends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_two_could_read_differently_never_ends_for_the_upstream() {
    for bad in ["5\r\nhelloX\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "0\r\nHost: b.test\r\n\r\n"] {
        let mut world = World::new();
        let mut client = world.tunnel("a.test");
        let mut visitor = world.visit().await;
        let head = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
        visitor.say(head).await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        assert_eq!(upstream.chunk().await.as_deref(), Some("a"));
        visitor.say(bad).await;
        let (rest, end) = upstream.rest().await;
        assert!(end.is_err() && !rest.contains("0\r\n"), "{bad:?} gave {rest:?}");
        let (head, _) = visitor.answer().await;
        assert!(head.starts_with("http/1.1 400 "), "{head}");
        assert_eq!(visitor.rest().await.0, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_answer_is_not_passed_on() {
    for (said, code) in [
        ("", Code::UpstreamBroken),
        ("SSH-2.0-OpenSSH_9.9\r\n", Code::UpstreamMalformed),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", Code::UpstreamMalformed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Code::UpstreamMalformed),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            Code::UpstreamMalformed,
        ),
        ("HTTP/1.1 200", Code::UpstreamBroken),
    ] {
        let mut world = World::new();
        let mut client = world.tunnel("a.test");
        let mut visitor = world.visit().await;
        visitor.say("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n").await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream.say(said).await;
        // Fails if the server has read enough by then.
        let _ = upstream.io.shutdown().await;
        let (head, body) = visitor.answer().await;
        assert!(head.starts_with("http/1.1 502 "), "{said:?} gave {head}");
        assert_eq!(field(&head, "tunnel-error"), Some(code.name()), "{said:?}");
        assert!(body.contains("localhost:3000"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_of_an_upstream_that_speaks_tls_is_told() {
    let alert = "\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{46}";
    let (good, bad) = ("HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n");
    for (answers, is_told) in
        [(&[alert][..], true), (&[""], true), (&[bad], false), (&[good, ""], false), (&[good, alert], true)]
    {
        let mut world = World::new();
        let mut client = world.tunnel("a.test");
        let mut hint = String::new();
        for said in answers {
            let mut visitor = world.get("a.test", "/").await;
            let mut upstream = client.accept().await;
            upstream.head().await;
            upstream.say(said).await;
            let _ = upstream.io.shutdown().await;
            visitor.head().await;
            let Some(ServerMessage::Request(report)) = client.messages.recv().await else {
                panic!("no report")
            };
            hint = report.hint.unwrap_or_default();
        }
        let cure = "run: tunnel http https://localhost:3000";
        assert_eq!(hint.contains(cure), is_told, "{answers:?}: {hint}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_head_is_not_an_answer() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.get("a.test", "/").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say("HTTP/1.1 200 OK\r\n").await;
    // The stream is reset somewhere on the way.
    while upstream.io.write_all(&[b'x'; 10_000]).await.is_ok() {}
    assert_eq!(field(&visitor.answer().await.0, "tunnel-error"), Some(Code::UpstreamMalformed.name()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_behind_an_answer_reach_nobody() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.get("a.test", "/").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    upstream.say(&format!("{answer}ok{answer}no")).await;
    assert_eq!(visitor.answer().await.1, "ok");
    let (_, end) = upstream.rest().await;
    // Closed or reset: in any case not used again.
    drop(end);
    visitor.say(&super::world::get("a.test", "/2")).await;
    let mut other = client.accept().await;
    other.head().await;
    other.say(&format!("{answer}hi")).await;
    assert_eq!(visitor.answer().await.1, "hi");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_where_nothing_answered() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    for (code, status) in
        [(Code::UpstreamRefused, "502"), (Code::UpstreamTimeout, "504"), (Code::ClientBusy, "503")]
    {
        let mut visitor = world.get("a.test", "/").await;
        client.refuse(code).await;
        let (head, body) = visitor.answer().await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        assert_eq!(field(&head, "tunnel-error"), Some(code.name()));
        assert!(code == Code::ClientBusy || body.contains("localhost:3000"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_cuts_everything_off() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.get("a.test", "/").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say("HTTP/1.1 200 OK\r\n\r\nhello").await;
    visitor.head().await;
    assert_eq!(visitor.chunk().await.as_deref(), Some("hello"));
    world.shared.stopping.cancel();
    assert!(visitor.rest().await.1.is_err());
    assert!(upstream.rest().await.1.is_err());
    world.shared.visitors.close();
    world.shared.visitors.wait().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_that_is_closed_ends_what_waits_for_its_upstream() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut waiting = world.get("a.test", "/").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    let mut reading = world.get("a.test", "/").await;
    let mut half = client.accept().await;
    half.head().await;
    half.say("HTTP/1.1 200 OK\r\n\r\nhello").await;
    reading.head().await;
    assert_eq!(reading.chunk().await.as_deref(), Some("hello"));
    client.endpoint.over.cancel();
    assert!(upstream.rest().await.1.is_err() && half.rest().await.1.is_err());
    assert!(waiting.head().await.starts_with("http/1.1 502 "));
    assert_eq!(reading.rest().await.0, "", "no last chunk");
}
