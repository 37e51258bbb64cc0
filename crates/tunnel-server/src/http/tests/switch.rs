//! WebSocket and its like.

use tokio::io::AsyncWriteExt;

use super::world::{World, field, get};

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: x\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: y\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_upstreams_101_bytes_pass_both_ways_and_each_way_ends_alone() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.visit().await;
    // More than it was asked for, and too early: it waits.
    visitor.say(&format!("{ASK}early")).await;
    let mut upstream = client.accept().await;
    let head = upstream.head().await;
    assert_eq!((field(&head, "upgrade"), field(&head, "connection")), (Some("websocket"), Some("upgrade")));
    upstream.say(&format!("{}hello", SWITCH.replace("Upgrade: W", "Content-Length: 3\r\nUpgrade: W"))).await;
    let head = visitor.head().await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert_eq!(field(&head, "content-length"), None, "what follows is no body");
    assert_eq!(
        (field(&head, "upgrade"), field(&head, "sec-websocket-accept")),
        (Some("websocket"), Some("y"))
    );
    assert_eq!(visitor.bytes(5).await, "hello");
    assert_eq!(upstream.bytes(5).await, "early");
    for _ in 0..3 {
        visitor.say("ping").await;
        assert_eq!(upstream.bytes(4).await, "ping");
        upstream.say("pong").await;
        assert_eq!(visitor.bytes(4).await, "pong");
    }
    visitor.io.shutdown().await.unwrap();
    let (rest, end) = upstream.rest().await;
    assert!(rest.is_empty() && end.is_ok());
    upstream.say("last words").await;
    upstream.io.shutdown().await.unwrap();
    let (rest, end) = visitor.rest().await;
    assert!(rest == "last words" && end.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_is_no_end_either_way() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    for cut_by_visitor in [true, false] {
        let mut visitor = world.visit().await;
        visitor.say(ASK).await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream.say(SWITCH).await;
        visitor.head().await;
        if cut_by_visitor {
            visitor.io.set_zero_linger().unwrap();
            drop(visitor);
            assert!(upstream.rest().await.1.is_err());
        } else {
            drop(upstream);
            assert!(visitor.rest().await.1.is_err());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_upgrade_leaves_http_as_it_was() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.visit().await;
    visitor.say(&format!("{ASK}{}", get("a.test", "/admin"))).await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno").await;
    assert_eq!(visitor.answer().await.1, "no");
    let head = upstream.head().await;
    assert!(head.starts_with("get /admin "), "a request of its own: {head}");
    upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(visitor.answer().await.1, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_to_something_else_is_no_answer() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    for chosen in ["Upgrade: h2c\r\n", "Upgrade: websocket, h2c\r\n", ""] {
        let mut visitor = world.visit().await;
        visitor.say(ASK).await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream
            .say(&format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{chosen}\r\n"))
            .await;
        let (head, _) = visitor.answer().await;
        assert_eq!(field(&head, "tunnel-error"), Some("upstream-malformed"), "{chosen:?}: {head}");
        assert!(upstream.rest().await.1.is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_connection_counts_as_a_visitor_and_ends_with_the_server() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = world.visit().await;
    visitor.say(ASK).await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say(SWITCH).await;
    visitor.head().await;
    assert_eq!(client.endpoint.visitors(), 1);
    world.shared.stopping.cancel();
    assert!(visitor.rest().await.1.is_err());
    assert!(upstream.rest().await.1.is_err());
    world.shared.visitors.close();
    world.shared.visitors.wait().await;
    assert_eq!(client.endpoint.visitors(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_connection_keeps_its_place_among_all_connections() {
    let mut world = World::with(|config| config.limits.connections = 1);
    let mut client = world.tunnel("a.test");
    let mut visitor = world.visit().await;
    visitor.say(ASK).await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say(&format!("{SWITCH}hello")).await;
    visitor.head().await;
    assert_eq!(visitor.bytes(5).await, "hello");
    visitor.say("early").await;
    assert_eq!(upstream.bytes(5).await, "early");
    let (head, _) = world.visit().await.answer().await;
    assert_eq!(field(&head, "tunnel-error"), Some("too-many-visitors"), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_a_body_may_ask_for_it_too_and_is_answered_once_it_is_whole() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let ask = "POST /exec HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n";
    let switch = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    for (body, sent) in [
        ("Content-Length: 2\r\n\r\n{}", "{}"),
        ("Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "2\r\n{}\r\n0\r\n\r\n"),
    ] {
        let mut visitor = world.visit().await;
        visitor.say(&format!("{ask}{body}early")).await;
        let mut upstream = client.accept().await;
        assert_eq!(field(&upstream.head().await, "upgrade"), Some("tcp"));
        assert_eq!(upstream.bytes(sent.len()).await, sent);
        upstream.say(&format!("{switch}hello")).await;
        assert!(visitor.head().await.starts_with("http/1.1 101 "));
        assert_eq!(visitor.bytes(5).await, "hello");
        assert_eq!(upstream.bytes(5).await, "early");
    }

    let mut visitor = world.visit().await;
    visitor.say(&format!("{ask}Content-Length: 9\r\n\r\nhalf")).await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say(switch).await;
    let (head, _) = visitor.answer().await;
    assert_eq!(field(&head, "tunnel-error"), Some("upstream-malformed"), "{head}");
    assert!(upstream.rest().await.1.is_err());
}
