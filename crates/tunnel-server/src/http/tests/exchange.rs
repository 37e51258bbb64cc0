//! Exchanges that go well, in all the shapes HTTP has for them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tunnel_protocol::{Code, ServerMessage};

use super::world::{World, field, get};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_arrives_as_it_was_and_its_answer_too() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.visit().await;
    visitor
        .say("POST http://a.test/p?q=1 HTTP/1.1\r\nHost: A.test:80\r\nContent-Length: 5\r\nX: y\r\n\r\nhello")
        .await;
    let mut upstream = client.accept().await;
    let head = upstream.head().await;
    let (first, _) = head.split_once('\n').unwrap();
    assert_eq!(first, "post /p?q=1 http/1.1");
    assert_eq!(field(&head, "host"), Some("a.test:80"));
    assert_eq!((field(&head, "x"), field(&head, "content-length")), (Some("y"), Some("5")));
    assert_eq!(field(&head, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(field(&head, "connection"), None);
    assert_eq!(upstream.bytes(5).await, "hello");
    upstream.say("HTTP/1.1 418 Short And Stout\r\nContent-Length: 2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nDate: now\r\n\r\nok").await;
    let (head, body) = visitor.answer().await;
    assert_eq!(
        (head.as_str(), body.as_str()),
        ("http/1.1 418 short and stout\ncontent-length: 2\ndate: now\nset-cookie: a\nset-cookie: b", "ok")
    );
    let Some(ServerMessage::Request(report)) = client.messages.recv().await else { panic!("no report") };
    assert_eq!((report.method.as_str(), report.path.as_str(), report.status), ("POST", "/p?q=1", 418));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_target_reaches_the_upstream_as_an_origin_wants_it() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.visit().await;
    let mut kept = None;
    for (asked, wanted) in [
        ("OPTIONS *", "options *"),
        ("GET http://a.test", "get /"),
        ("GET http://a.test?x=1", "get /?x=1"),
        ("GET http://a.test?/x", "get /?/x"),
        ("GET HTTP://a.test:80/a/../b?x=%2f", "get /a/../b?x=%2f"),
        ("GET //a//b/", "get //a//b/"),
        ("QUERY /?a[]=|", "query /?a[]=|"),
    ] {
        visitor.say(&format!("{asked} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        if kept.is_none() {
            kept = Some(client.accept().await);
        }
        let upstream = kept.as_mut().unwrap();
        assert!(upstream.head().await.starts_with(&format!("{wanted} http/1.1\n")), "{asked}");
        upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        visitor.answer().await;
        let Some(ServerMessage::Request(report)) = client.messages.recv().await else { panic!("no report") };
        assert!(wanted.ends_with(&format!(" {}", report.path)), "{asked}: {}", report.path);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_of_a_connection_goes_to_the_tunnel_it_names() {
    let mut world = World::new();
    let (mut a, mut b) = (world.tunnel("a.test"), world.tunnel("b.test"));
    let mut visitor = world.visit().await;
    // All at once: a pipeline that changes its tenant with every request.
    let all: String = (0..40).map(|i| get(["a.test", "b.test"][i % 2], &format!("/{i}"))).collect();
    visitor.say(&all).await;
    let (mut at_a, mut at_b) = (None, None);
    for i in 0..40 {
        let (name, client, at) = if i % 2 == 0 { ("a", &mut a, &mut at_a) } else { ("b", &mut b, &mut at_b) };
        if at.is_none() {
            *at = Some(client.accept().await);
        }
        let upstream = at.as_mut().unwrap();
        let head = upstream.head().await;
        assert!(
            head.starts_with(&format!("get /{i} ")) && head.contains(&format!("host: {name}.test")),
            "{head}"
        );
        let body = format!("{name}{i}");
        upstream.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        assert_eq!(visitor.answer().await.1, body);
    }
    assert!(a.is_left_alone().await && b.is_left_alone().await, "one stream each served all twenty");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_used_again_but_not_for_another_client() {
    let mut world = World::new();
    let mut first = world.tunnel("a.test");
    let mut visitor = world.get("a.test", "/").await;
    let mut upstream = first.accept().await;
    upstream.head().await;
    upstream.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    visitor.head().await;
    assert_eq!((visitor.chunk().await.as_deref(), visitor.chunk().await), (Some("ok"), None));
    let mut second = world.successor(&first);
    second.attach();
    let mut other = world.get("a.test", "/2").await;
    let mut new = second.accept().await;
    assert!(new.head().await.starts_with("get /2 "));
    new.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert!(other.head().await.starts_with("http/1.1 204 "));
    assert_eq!(upstream.rest().await.0, "", "the idle stream to the former client was closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_a_body_end_with_their_head() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.visit().await;
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"),
        ("DELETE", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("PUT", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
        ("OPTIONS", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        visitor.say(&format!("{method} / HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        let mut upstream = client.accept().await;
        assert!(upstream.head().await.starts_with(&format!("{} / ", method.to_lowercase())));
        upstream.say(answer).await;
        let head = visitor.head().await;
        assert!(answer.to_lowercase().starts_with(head.lines().next().unwrap()), "{head}");
        assert_eq!(field(&head, "content-length") == Some("1000"), method == "HEAD", "{head}");
        client.renew();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_pass_one_by_one_while_the_answer_stays_open() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.get("a.test", "/events").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
    assert_eq!(field(&visitor.head().await, "transfer-encoding"), Some("chunked"));
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        upstream.say(event).await;
        assert_eq!(visitor.chunk().await.as_deref(), Some(event));
    }
    upstream.io.shutdown().await.unwrap();
    assert_eq!(visitor.chunk().await, None, "an answer that ends with its connection ends properly");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_both_ways() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.visit().await;
    visitor.say("GET / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n").await;
    let mut upstream = client.accept().await;
    let head = upstream.head().await;
    assert_eq!((field(&head, "te"), field(&head, "trailer")), (Some("trailers"), Some("x-sum")));
    assert_eq!((upstream.chunk().await.as_deref(), upstream.chunk().await), (Some("a"), None));
    assert_eq!(upstream.line().await, "x-sum: 1");
    upstream.say("HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\nX-Sum: 2\r\n\r\n").await;
    visitor.head().await;
    assert_eq!((visitor.chunk().await.as_deref(), visitor.chunk().await), (Some("b"), None));
    assert_eq!(visitor.line().await, "x-sum: 2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_visitor_is_served_in_its_own_version() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.visit().await;
    visitor.say("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    let mut upstream = client.accept().await;
    assert!(upstream.head().await.starts_with("get / http/1.1"));
    upstream.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    let head = visitor.head().await;
    assert!(head.starts_with("http/1.0 200 ok") && field(&head, "transfer-encoding").is_none(), "{head}");
    let (body, end) = visitor.rest().await;
    assert_eq!((body.as_str(), end.is_ok()), ("ok", true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_that_asks_first_is_told_what_the_upstream_says() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let ask = "PUT / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";

    let mut visitor = world.visit().await;
    visitor.say(ask).await;
    let mut upstream = client.accept().await;
    assert_eq!(field(&upstream.head().await, "expect"), Some("100-continue"));
    upstream.say("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(visitor.head().await, "http/1.1 100 continue");
    visitor.say("body").await;
    assert_eq!(upstream.bytes(4).await, "body");
    upstream.say("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await;
    assert!(visitor.head().await.starts_with("http/1.1 201 "));
    drop((visitor, upstream));
    client.renew();

    let mut visitor = world.visit().await;
    visitor.say(ask).await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n").await;
    assert!(visitor.head().await.starts_with("http/1.1 417 "), "no 100 before it");
    assert_eq!(visitor.rest().await.0, "");
    assert!(upstream.rest().await.1.is_err(), "the request was not whole");

    let mut visitor = world.visit().await;
    visitor.say(ask).await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    assert_eq!(
        visitor.head().await,
        "http/1.1 100 continue",
        "an upstream that says nothing gets the body anyway"
    );
    visitor.say("body").await;
    assert_eq!(upstream.bytes(4).await, "body");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_is_passed_on_and_the_rest_of_the_request_left_out() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.visit().await;
    visitor.say("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\nsome of it").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say("HTTP/1.1 413 Too Much\r\nContent-Length: 3\r\n\r\nbig").await;
    // Still sending: the answer must get through all the same, and then the connection must end.
    visitor.say(&"x".repeat(100_000)).await;
    assert_eq!(visitor.answer().await.1, "big");
    let (rest, _) = visitor.rest().await;
    assert_eq!(rest, "");
    assert!(upstream.rest().await.1.is_err(), "reset, since the request was not whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_is_heard_out_and_the_next_one_answered() {
    let world = World::new();
    let mut visitor = world.visit().await;
    for body in ["Content-Length: 4\r\n\r\nbody", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"]
    {
        visitor.say(&format!("POST / HTTP/1.1\r\nHost: a.test\r\n{body}")).await;
        let (head, _) = visitor.answer().await;
        assert_eq!(
            (field(&head, "tunnel-error"), field(&head, "connection")),
            (Some("tunnel-not-found"), None)
        );
    }
    visitor.say("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\nsome").await;
    let (head, _) = visitor.answer().await;
    assert_eq!(field(&head, "connection"), Some("close"), "that is too much to be heard out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_with_a_reset_still_arrives() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    for _ in 0..20 {
        let mut visitor = world.visit().await;
        visitor.say("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\nsome").await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream.say("HTTP/1.1 413 Too Much\r\nContent-Length: 3\r\n\r\nbig").await;
        drop(upstream);
        visitor.say(&"x".repeat(50_000)).await;
        assert_eq!(visitor.answer().await.1, "big");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_gets_all_of_a_large_answer_that_closes() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.visit().await;
    visitor.say("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    const SIZE: usize = 8 << 20;
    let send = async {
        upstream
            .say(&format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {SIZE}\r\n\r\n"))
            .await;
        upstream.io.write_all(&vec![b'x'; SIZE]).await.unwrap();
        upstream.io.shutdown().await.unwrap();
    };
    let receive = async {
        visitor.head().await;
        let mut piece = vec![0; 100_000];
        // What was read with the head.
        let mut got = visitor.rest_of_buffer();
        for i in 0.. {
            if i % 10 == 0 {
                // sleep: a slow reader is what this is about
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            match visitor.io.read(&mut piece).await.unwrap() {
                0 => break,
                read => got += read,
            }
        }
        got
    };
    let ((), got) = tokio::join!(send, receive);
    assert_eq!(got, SIZE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_upload_arrives_whole() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.visit().await;
    const SIZE: usize = 4 << 20;
    let send = async {
        visitor.say(&format!("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {SIZE}\r\n\r\n")).await;
        visitor.say(&"x".repeat(SIZE)).await;
        visitor.answer().await.1
    };
    let receive = async {
        let mut upstream = client.accept().await;
        upstream.head().await;
        let body = upstream.bytes(SIZE).await;
        upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        (upstream, body.len())
    };
    let (answer, (_upstream, got)) = tokio::join!(send, receive);
    assert_eq!((answer.as_str(), got), ("ok", SIZE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_served_is_answered_in_order() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.visit().await;
    let (good, bad) = (get("a.test", "/"), "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n");
    visitor.say(&format!("{}{good}{bad}{good}", get("none.test", "/"))).await;
    let (head, body) = visitor.answer().await;
    assert!(
        head.starts_with("http/1.1 404 ") && body.contains("There is no tunnel at none.test."),
        "{head} {body}"
    );
    assert_eq!(field(&head, "tunnel-error"), Some(Code::TunnelNotFound.name()));
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say("HTTP/1.1 200 OK\r\nTunnel-Error: internal\r\nContent-Length: 2\r\n\r\nok").await;
    let (head, body) = visitor.answer().await;
    assert_eq!((field(&head, "tunnel-error"), body.as_str()), (None, "ok"));
    let (head, body) = visitor.answer().await;
    assert!(
        head.starts_with("http/1.1 400 ") && body.contains("there are several Host fields"),
        "{head} {body}"
    );
    assert_eq!(field(&head, "connection"), Some("close"));
    assert_eq!(visitor.rest().await.0, "");
    assert!(client.is_left_alone().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_server_finishes_what_is_under_way() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut idle = world.get("none.test", "/").await;
    idle.answer().await;
    let mut pooled = world.get("a.test", "/").await;
    let mut kept = client.accept().await;
    kept.head().await;
    kept.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    pooled.head().await;
    let mut busy = world.get("a.test", "/2").await;
    kept.head().await;
    world.shared.draining.cancel();
    assert_eq!(idle.rest().await.0, "");
    kept.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let (head, body) = busy.answer().await;
    assert_eq!((field(&head, "connection"), body.as_str()), (Some("close"), "ok"));
    assert_eq!(busy.rest().await.0, "");
    drop((busy, idle, pooled));
    world.shared.visitors.close();
    world.shared.visitors.wait().await;
    assert_eq!(kept.rest().await.0, "", "the idle stream was given up");
}

/// Its request is on the way: closing would reset it, and nobody sends it again for the visitor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_came_just_before_a_server_drains_is_answered() {
    let world = World::new();
    let mut silent = world.visit().await;
    let mut slow = world.visit().await;
    slow.say("GET / HTTP/1.1\r\nHost: none").await;
    let mut fast = world.visit().await;
    while world.shared.visitors.len() < 3 {
        tokio::task::yield_now().await;
    }
    world.shared.draining.cancel();
    fast.say(&get("none.test", "/")).await;
    slow.say(".test\r\n\r\n").await;
    for visitor in [&mut fast, &mut slow] {
        let (head, _) = visitor.answer().await;
        assert!(head.starts_with("http/1.1 404 "), "{head}");
        assert_eq!(field(&head, "connection"), Some("close"));
    }
    assert_eq!(silent.rest().await.0, "", "who says nothing isn't waited for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_tunnel_refuses_one_visitor_and_no_more() {
    let mut world = World::new();
    let client = world.tunnel("a.test");
    let places: Vec<_> = std::iter::from_fn(|| client.endpoint.admit().ok()).collect();
    let (head, _) = world.get("a.test", "/").await.answer().await;
    assert!(head.starts_with("http/1.1 503 ") && field(&head, "retry-after") == Some("1"), "{head}");
    drop(places);
    assert_eq!(client.endpoint.visitors(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_the_limit_of_connections_a_visitor_is_told_so() {
    let world = World::with(|config| config.limits.connections = 1);
    let mut first = world.get("none.test", "/").await;
    first.answer().await;
    let mut second = world.visit().await;
    let (head, _) = second.answer().await;
    assert_eq!(field(&head, "tunnel-error"), Some("too-many-visitors"));
}
