//! HTTP/2 from visitors through client and server to upstreams that speak it, and to others that don't.

use std::future::poll_fn;

use bytes::Bytes;
use h2::{Reason, RecvStream, client, server};
use http::{Request, Response};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tunnel_client::{BindError, UpstreamError, UpstreamProtocol};
use tunnel_testkit::{Site, Upstream, Visitor};

use crate::support::PATIENCE;

/// A visitor that speaks HTTP/2, and what moves its bytes.
async fn visit(site: &Site) -> (client::SendRequest<Bytes>, JoinSet<()>) {
    let socket = TcpStream::connect(site.web_address()).await.unwrap();
    let (ask, connection) = client::handshake(socket).await.unwrap();
    let mut moving = JoinSet::new();
    moving.spawn(async move { drop(connection.await) });
    (ask, moving)
}

async fn ask(
    visitor: &mut client::SendRequest<Bytes>,
    url: &str,
    body: Option<&'static [u8]>,
) -> Response<RecvStream> {
    poll_fn(|cx| visitor.poll_ready(cx)).await.unwrap();
    let request = Request::post(url).body(()).unwrap();
    let (answer, mut to) = visitor.send_request(request, body.is_none()).unwrap();
    if let Some(body) = body {
        to.send_data(Bytes::from_static(body), true).unwrap();
    }
    timeout(PATIENCE, answer).await.unwrap().unwrap()
}

async fn rest(body: &mut RecvStream) -> Bytes {
    let mut whole = Vec::new();
    while let Some(data) = timeout(PATIENCE, body.data()).await.unwrap() {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        whole.extend_from_slice(&data);
    }
    whole.into()
}

/// Answers every request with what came in it, and with trailers; or resets it, if it is for `/reset`.
async fn echo() -> Upstream {
    Upstream::start(|stream| async move {
        let mut connection = server::handshake(stream).await.unwrap();
        let mut answers = JoinSet::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            answers.spawn(async move {
                if request.uri().path() == "/reset" {
                    return respond.send_reset(Reason::ENHANCE_YOUR_CALM);
                }
                let mut to = respond.send_response(Response::new(()), false).unwrap();
                let mut body = request.into_body();
                while let Some(Ok(data)) = body.data().await {
                    body.flow_control().release_capacity(data.len()).unwrap();
                    to.send_data(data, false).unwrap();
                }
                to.send_trailers([("is".parse().unwrap(), "whole".parse().unwrap())].into_iter().collect())
                    .unwrap();
            });
        }
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_end_to_end_keeps_bytes_and_trailers() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let upstream = echo().await;
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.http().subdomain("a").upstream_protocol(UpstreamProtocol::H2c);
    let _tunnel = tunnel.forward(upstream.target()).await.unwrap();
    let (mut visitor, _moving) = visit(&site).await;
    for body in [None, Some(&b"hello"[..]), Some(&[7; 60_000])] {
        let mut answer = ask(&mut visitor, "http://a.test/", body).await.into_body();
        assert_eq!(rest(&mut answer).await, body.unwrap_or_default());
        assert_eq!(answer.trailers().await.unwrap().unwrap()["is"], "whole");
    }
    let refused = ask(&mut visitor, "http://a.test/reset", None).await;
    assert_eq!(refused.headers()["tunnel-error"], "upstream-broken");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_meet_whichever_each_side_speaks() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let (new, old) = (echo().await, Upstream::hello("old").await.unwrap());
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.http().subdomain("new").upstream_protocol(UpstreamProtocol::H2c);
    let _new = tunnel.forward(new.target()).await.unwrap();
    let _old = client.http().subdomain("old").forward(old.target()).await.unwrap();
    let (mut visitor, _moving) = visit(&site).await;
    for n in 0..20 {
        let mut answer = ask(&mut visitor, &format!("http://old.test/{n}"), None).await.into_body();
        assert!(rest(&mut answer).await.starts_with(format!("old /{n} ").as_bytes()));
    }
    let mut plain = Visitor::connect(site.web_address()).await.unwrap();
    plain.send("POST / HTTP/1.1\r\nHost: new.test\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
    let answer = plain.answer().await.unwrap();
    assert_eq!(answer.body, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_is_not_said_to_speak_what_it_cannot() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let old = Upstream::hello("old").await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.http().subdomain("a").upstream_protocol(UpstreamProtocol::H2c);
    let refused = tunnel.forward("https://localhost:1").await;
    assert!(matches!(refused, Err(BindError::Upstream(UpstreamError::Protocol(_)))), "{refused:?}");
    let tunnel = client.http().subdomain("a").upstream_protocol(UpstreamProtocol::H2c);
    let _tunnel = tunnel.forward(old.target()).await.unwrap();
    let (mut visitor, _moving) = visit(&site).await;
    let answer = ask(&mut visitor, "http://a.test/", None).await;
    assert_eq!(answer.headers()["tunnel-error"], "upstream-malformed");
}
