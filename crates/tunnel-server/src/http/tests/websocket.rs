//! WebSockets whose visitors speak HTTP/2 (RFC 8441), and those whose upstreams do.

use ::h2::{Reason, ext::Protocol};
use ::http::{Method, Request, StatusCode};
use bytes::Bytes;
use tokio::{io::AsyncWriteExt, time::timeout};
use tunnel_protocol::Code;

use super::{
    http2::{Visitor, h2_tunnel, rest},
    world::{HANG, World, field},
};

fn websocket(protocol: &'static str) -> Request<()> {
    Request::builder()
        .method(Method::CONNECT)
        .uri("http://a.test/ws")
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static(protocol))
        .body(())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_over_http2_is_one_over_http1_to_its_upstream() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = Visitor::new(&world).await;
    // Whether extended CONNECT is there is known after the first answer at the latest.
    visitor.get("http://b.test/").await;
    assert!(visitor.ask.is_extended_connect_protocol_enabled());
    for ends_well in [true, false] {
        let (asked, mut said) = visitor.send(websocket("websocket"), false).await;
        let mut upstream = client.accept().await;
        let head = upstream.head().await;
        assert!(head.starts_with("get /ws http/1.1\n"), "{head}");
        assert_eq!(
            (field(&head, "upgrade"), field(&head, "connection")),
            (Some("websocket"), Some("upgrade"))
        );
        assert_eq!(field(&head, "sec-websocket-version"), Some("13"));
        let accept = super::super::upgrade::accept_of(&upstream.key().unwrap());
        upstream
            .say(&format!("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello"))
            .await;
        let answer = timeout(HANG, asked).await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
        assert!(!answer.headers().contains_key("sec-websocket-accept"));
        let mut hears = answer.into_body();
        assert_eq!(timeout(HANG, hears.data()).await.unwrap().unwrap().unwrap(), "hello");
        said.send_data("ping".into(), false).unwrap();
        assert_eq!(upstream.bytes(4).await, "ping");
        if ends_well {
            said.send_data(Bytes::new(), true).unwrap();
            assert!(upstream.rest().await.1.is_ok());
            upstream.say("last words").await;
            upstream.io.shutdown().await.unwrap();
            assert_eq!(rest(&mut hears).await.unwrap(), "last words");
        } else {
            said.send_reset(Reason::CANCEL);
            assert!(upstream.rest().await.1.is_err());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_to_an_http2_upstream_is_refused_in_words() {
    let mut world = World::new();
    let mut client = h2_tunnel(&mut world, "a.test");
    let mut visitor = world.visit().await;
    let ask = "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    visitor.say(ask).await;
    let _upstream = client.accept().await;
    let (head, page) = visitor.answer().await;
    assert_eq!(field(&head, "tunnel-error"), Some(Code::UpstreamMalformed.name()));
    assert!(page.contains("WebSocket"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_a_websockets_answer_is_not_passed_for_one() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = Visitor::new(&world).await;
    visitor.get("http://b.test/").await;
    for (said, status) in [
        (
            "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
            502,
        ),
        ("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 502),
        ("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", 403),
    ] {
        let (asked, _said) = visitor.send(websocket("websocket"), false).await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream.say(said).await;
        assert_eq!(timeout(HANG, asked).await.unwrap().unwrap().status(), status, "{said}");
    }
    let (asked, _said) = visitor.send(websocket("connect-udp"), false).await;
    assert_eq!(timeout(HANG, asked).await.unwrap().unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}
