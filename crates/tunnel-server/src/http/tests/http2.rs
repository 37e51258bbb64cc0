//! HTTP/2 from visitors and towards upstreams.
//!
//! Visitors are played by the client of `h2`, upstreams by raw HTTP/1 or by the server of `h2`.

use std::{future::poll_fn, time::Duration};

use ::h2::{Reason, RecvStream, client, server};
use ::http::{HeaderMap, Method, Request, Response, StatusCode};
use bytes::Bytes;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet, time::timeout};
use tunnel_mux::Stream;
use tunnel_protocol::{Code, ServerMessage, bind::UpstreamProtocol};

use super::world::{Client, HANG, World, field};

/// A visitor that speaks HTTP/2.
pub(super) struct Visitor {
    pub(super) ask: client::SendRequest<Bytes>,
    _driver: JoinSet<()>,
}

type Upstream = server::Connection<Stream, Bytes>;

impl Visitor {
    pub(super) async fn new(world: &World) -> Self {
        Self::with(world, &mut client::Builder::new()).await
    }

    async fn with(world: &World, builder: &mut client::Builder) -> Self {
        let socket = TcpStream::connect(world.address).await.unwrap();
        let (ask, connection) = builder.handshake(socket).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(connection.await) });
        Self { ask, _driver: driver }
    }

    /// Begins a request.
    pub(super) async fn send(
        &mut self,
        request: Request<()>,
        is_over: bool,
    ) -> (client::ResponseFuture, ::h2::SendStream<Bytes>) {
        poll_fn(|cx| self.ask.poll_ready(cx)).await.unwrap();
        self.ask.send_request(request, is_over).unwrap()
    }

    /// Gets a whole answer.
    pub(super) async fn get(&mut self, url: &str) -> (Response<()>, Bytes) {
        let (answer, _) = self.send(Request::get(url).body(()).unwrap(), true).await;
        whole(timeout(HANG, answer).await.unwrap().unwrap()).await
    }

    /// Asks for something to whose end there is no need to wait.
    async fn start(&mut self, url: &str) -> client::ResponseFuture {
        self.send(Request::get(url).body(()).unwrap(), true).await.0
    }
}

pub(super) async fn whole(response: Response<RecvStream>) -> (Response<()>, Bytes) {
    let (head, mut body) = response.into_parts();
    (Response::from_parts(head, ()), rest(&mut body).await.unwrap())
}

pub(super) async fn rest(body: &mut RecvStream) -> Result<Bytes, ::h2::Error> {
    let mut whole = Vec::new();
    while let Some(data) = timeout(HANG, body.data()).await.unwrap() {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

async fn trailers(body: &mut RecvStream) -> HeaderMap {
    timeout(HANG, body.trailers()).await.unwrap().unwrap().unwrap_or_default()
}

/// A tunnel whose upstream speaks HTTP/2.
pub(super) fn h2_tunnel(world: &mut World, host: &str) -> Client {
    world.tunnel_speaking(host, UpstreamProtocol::Http2)
}

async fn accept_h2(client: &mut Client) -> Upstream {
    timeout(HANG, server::handshake(client.accept().await.io)).await.unwrap().unwrap()
}

/// The next request on a connection, which goes on meanwhile.
async fn next(upstream: &mut Upstream) -> (Request<RecvStream>, server::SendResponse<Bytes>) {
    timeout(HANG, upstream.accept()).await.unwrap().expect("a request comes").unwrap()
}

/// Lets a connection go on for good.
fn keep_going(mut upstream: Upstream) -> JoinSet<()> {
    let mut going = JoinSet::new();
    going.spawn(async move { while let Some(Ok(_)) = upstream.accept().await {} });
    going
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_to_an_http1_upstream_what_it_would_be_from_an_http1_visitor() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = Visitor::new(&world).await;
    let request = Request::post("http://a.test:8080/p?q=1")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("x", "y")
        .body(())
        .unwrap();
    let (answer, mut body) = visitor.send(request, false).await;
    body.send_data("hello".into(), true).unwrap();
    let mut upstream = client.accept().await;
    let head = upstream.head().await;
    assert!(head.starts_with("post /p?q=1 http/1.1\n"), "{head}");
    assert_eq!((field(&head, "host"), field(&head, "x")), (Some("a.test:8080"), Some("y")));
    assert_eq!((field(&head, "cookie"), field(&head, "te")), (Some("a=1; b=2"), Some("trailers")));
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    assert_eq!(upstream.chunk().await.as_deref(), Some("hello"));
    assert_eq!(upstream.chunk().await, None);
    assert_eq!(upstream.line().await, "");
    upstream
        .say("HTTP/1.1 418 X\r\nTransfer-Encoding: chunked\r\nConnection: x-gone\r\nX-Gone: 1\r\nTrailer: t\r\nSet-Cookie: a\r\n\r\n2\r\nok\r\n0\r\nT: 1\r\n\r\n")
        .await;
    let answer = timeout(HANG, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::IM_A_TEAPOT);
    for gone in ["connection", "transfer-encoding", "x-gone"] {
        assert!(!answer.headers().contains_key(gone), "{gone}");
    }
    assert_eq!(answer.headers()["set-cookie"], "a");
    let mut body = answer.into_body();
    assert_eq!(rest(&mut body).await.unwrap(), "ok");
    assert_eq!(trailers(&mut body).await["t"], "1");
    let Some(ServerMessage::Request(report)) = client.messages.recv().await else { panic!("no report") };
    assert_eq!((report.method.as_str(), report.path.as_str(), report.status), ("POST", "/p?q=1", 418));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_content_claims_no_length() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = Visitor::new(&world).await;
    let answer = visitor.start("http://a.test/").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n").await;
    let (answer, body) = whole(timeout(HANG, answer).await.unwrap().unwrap()).await;
    assert_eq!((answer.status(), body.len()), (StatusCode::NO_CONTENT, 0));
    assert!(!answer.headers().contains_key("content-length"), "visitors would reset it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trailer_that_only_a_head_may_have_breaks_the_request_off() {
    for (name, speaks_h2) in
        [("x-forwarded-for", false), ("x_real_ip", false), ("authorization", true), ("host", true)]
    {
        let mut world = World::new();
        let mut client = if speaks_h2 { h2_tunnel(&mut world, "a.test") } else { world.tunnel("a.test") };
        let mut visitor = Visitor::new(&world).await;
        let request = Request::post("http://a.test/").header("te", "trailers").header("trailer", name);
        let (answer, mut body) = visitor.send(request.body(()).unwrap(), false).await;
        body.send_data("hello".into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert(name, "6.6.6.6".parse().unwrap());
        if speaks_h2 {
            let mut upstream = accept_h2(&mut client).await;
            let (request, _respond) = next(&mut upstream).await;
            let _going = keep_going(upstream);
            let mut heard = request.into_body();
            assert_eq!(timeout(HANG, heard.data()).await.unwrap().unwrap().unwrap(), "hello");
            body.send_trailers(trailers).unwrap();
            assert!(timeout(HANG, heard.data()).await.unwrap().is_none_or(|more| more.is_err()));
            assert!(!matches!(timeout(HANG, heard.trailers()).await.unwrap(), Ok(Some(_))), "{name}");
        } else {
            let mut upstream = client.accept().await;
            upstream.head().await;
            assert_eq!(upstream.chunk().await.as_deref(), Some("hello"));
            body.send_trailers(trailers).unwrap();
            assert!(upstream.rest().await.1.is_err(), "{name}");
        }
        let answer = timeout(HANG, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_connection_go_each_to_the_tunnel_it_names_and_none_waits_for_another() {
    let mut world = World::new();
    let (mut a, mut b) = (world.tunnel("a.test"), world.tunnel("b.test"));
    let mut visitor = Visitor::new(&world).await;
    // This one is never answered.
    let _waiting = visitor.start("http://a.test/slow").await;
    let mut slow = a.accept().await;
    assert!(slow.head().await.contains("host: a.test"));
    let mut kept = None;
    for i in 0..20 {
        let answer = visitor.start(&format!("http://b.test/{i}")).await;
        if kept.is_none() {
            kept = Some(b.accept().await);
        }
        let upstream = kept.as_mut().unwrap();
        let head = upstream.head().await;
        assert!(head.starts_with(&format!("get /{i} ")) && head.contains("host: b.test"), "{head}");
        upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb").await;
        assert_eq!(whole(answer.await.unwrap()).await.1, "b");
    }
    let (response, _) = visitor.get("http://c.test/").await;
    assert_eq!(response.headers()["tunnel-error"], Code::TunnelNotFound.name());
    assert!(a.is_left_alone().await && b.is_left_alone().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_two_readings_never_reaches_an_upstream() {
    let mut world = World::new();
    let mut a = world.tunnel("a.test");
    let mut visitor = Visitor::new(&world).await;
    for request in [
        Request::get("http://a.test/").header("host", "b.test"),
        Request::get("http://user@a.test/"),
        Request::get("http://a.test/").header("host", "a.test").header("host", "a.test"),
        Request::get("ftp://a.test/"),
        Request::connect("a.test:443"),
    ] {
        let (answer, _) = visitor.send(request.body(()).unwrap(), true).await;
        let (response, _) = whole(timeout(HANG, answer).await.unwrap().unwrap()).await;
        assert!(response.status().is_client_error(), "{response:?}");
        assert!(response.headers().contains_key("tunnel-error"));
    }
    assert!(a.is_left_alone().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_is_never_taken_for_whole() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = Visitor::new(&world).await;
    for answer in ["Content-Length: 9", "Transfer-Encoding: chunked"] {
        let asked = visitor.start("http://a.test/").await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        upstream.say(&format!("HTTP/1.1 200 OK\r\n{answer}\r\n\r\n4\r\nwhat")).await;
        upstream.io.shutdown().await.unwrap();
        let mut body = timeout(HANG, asked).await.unwrap().unwrap().into_body();
        let error = rest(&mut body).await.unwrap_err();
        assert!(error.is_reset() && error.is_remote(), "{answer}: {error}");
    }
    // The connection goes on.
    assert_eq!(visitor.get("http://b.test/").await.0.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_that_lets_go_of_an_exchange_lets_go_of_the_upstream() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = Visitor::new(&world).await;
    for has_begun in [false, true] {
        let asked = visitor.start("http://a.test/").await;
        let mut upstream = client.accept().await;
        upstream.head().await;
        if has_begun {
            upstream.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await;
            drop(timeout(HANG, asked).await.unwrap().unwrap());
        } else {
            drop(asked);
        }
        assert!(upstream.rest().await.1.is_err(), "{has_begun}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_answer_passes_piece_by_piece() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = Visitor::new(&world).await;
    let asked = visitor.start("http://a.test/events").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream
        .say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let mut body = timeout(HANG, asked).await.unwrap().unwrap().into_body();
    for i in 0..10 {
        upstream.say(&format!("8\r\ndata: {i}\n\r\n")).await;
        let mut piece = Vec::new();
        while piece.len() < 8 {
            piece.extend_from_slice(&timeout(HANG, body.data()).await.unwrap().unwrap().unwrap());
        }
        assert_eq!(piece, format!("data: {i}\n").as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_that_takes_nothing_loses_that_stream_and_no_other() {
    let mut world = World::with(|config| config.timeouts.stall = Duration::from_millis(300));
    let mut client = world.tunnel("a.test");
    let mut visitor = Visitor::with(&world, client::Builder::new().initial_window_size(1000)).await;
    let asked = visitor.start("http://a.test/big").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").await;
    upstream.say(&"x".repeat(100_000)).await;
    let mut stalled = timeout(HANG, asked).await.unwrap().unwrap().into_body();
    assert_eq!(timeout(HANG, stalled.data()).await.unwrap().unwrap().unwrap().len(), 1000);
    // What was taken is not made room for.
    let error = timeout(HANG, stalled.data()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    assert!(upstream.rest().await.1.is_err());
    assert_eq!(visitor.get("http://b.test/").await.0.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_stalls_is_given_up_and_one_without_a_length_is_a_conversation() {
    let mut world = World::with(|config| config.timeouts.stall = Duration::from_millis(300));
    let mut client = world.tunnel("a.test");
    let mut visitor = Visitor::new(&world).await;
    let talk = Request::post("http://a.test/talk").body(()).unwrap();
    let (talking, mut said) = visitor.send(talk, false).await;
    said.send_data("one".into(), false).unwrap();
    let mut first = client.accept().await;
    first.head().await;
    assert_eq!(first.chunk().await.as_deref(), Some("one"));
    let upload = Request::post("http://a.test/up").header("content-length", "9").body(()).unwrap();
    let (asked, mut up) = visitor.send(upload, false).await;
    up.send_data("abc".into(), false).unwrap();
    let mut second = client.accept().await;
    second.head().await;
    assert!(second.rest().await.1.is_err());
    let answer = timeout(HANG, asked).await.unwrap().unwrap();
    assert_eq!(answer.headers()["tunnel-error"], Code::RequestTimeout.name());
    // Longer ago than the other.
    said.send_data("two".into(), true).unwrap();
    assert_eq!(first.chunk().await.as_deref(), Some("two"));
    first.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(timeout(HANG, talking).await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_server_says_goodbye_and_finishes_what_is_under_way() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = Visitor::new(&world).await;
    let asked = visitor.start("http://a.test/").await;
    let mut upstream = client.accept().await;
    upstream.head().await;
    world.shared.draining.cancel();
    upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let (response, body) = whole(timeout(HANG, asked).await.unwrap().unwrap()).await;
    assert_eq!((response.status(), body), (StatusCode::OK, "ok".into()));
    // The goodbye ends the connection, on which nothing is under way any more.
    let gone = timeout(HANG, async { while visitor._driver.join_next().await.is_some() {} }).await;
    assert!(gone.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_at_rest_is_ended_after_a_while() {
    let world = World::with(|config| config.timeouts.idle = Duration::from_millis(200));
    let mut visitor = Visitor::new(&world).await;
    assert_eq!(visitor.get("http://a.test/").await.0.status(), StatusCode::NOT_FOUND);
    let gone = timeout(HANG, async { while visitor._driver.join_next().await.is_some() {} }).await;
    assert!(gone.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_hints_pass_and_a_visitor_that_waits_is_told_to_go_on() {
    let mut world = World::new();
    let mut client = world.tunnel("a.test");
    let mut visitor = Visitor::new(&world).await;
    let request = Request::post("http://a.test/")
        .header("expect", "100-continue")
        .header("content-length", "5")
        .body(())
        .unwrap();
    let (mut asked, mut body) = visitor.send(request, false).await;
    let mut upstream = client.accept().await;
    assert_eq!(field(&upstream.head().await, "expect"), Some("100-continue"));
    upstream.say("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n").await;
    for (status, link) in [(StatusCode::EARLY_HINTS, Some("</a.css>")), (StatusCode::CONTINUE, None)] {
        let said = timeout(HANG, poll_fn(|cx| asked.poll_informational(cx))).await.unwrap().unwrap().unwrap();
        assert_eq!(said.status(), status);
        assert_eq!(said.headers().get("link").map(|link| link.to_str().unwrap()), link);
    }
    body.send_data("hello".into(), true).unwrap();
    assert_eq!(upstream.bytes(5).await, "hello");
    upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(timeout(HANG, asked).await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_passes_from_end_to_end_in_both_directions_at_once() {
    let mut world = World::new();
    let mut client = h2_tunnel(&mut world, "a.test");
    let mut visitor = Visitor::new(&world).await;
    let call = Request::post("http://a.test/s.S/m")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "5S");
    let (asked, mut said) = visitor.send(call.body(()).unwrap(), false).await;
    let mut upstream = accept_h2(&mut client).await;
    let (request, mut respond) = next(&mut upstream).await;
    let _going = keep_going(upstream);
    assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/s.S/m"));
    assert_eq!(request.uri().authority().unwrap(), "a.test");
    let headers = request.headers();
    assert_eq!(
        (&headers["te"], &headers["grpc-timeout"]),
        (&"trailers".parse().unwrap(), &"5S".parse().unwrap())
    );
    assert!(!headers.contains_key("host") && !headers.contains_key("transfer-encoding"));
    let mut heard = request.into_body();
    let mut answer = respond.send_response(Response::new(()), false).unwrap();
    let mut hears = timeout(HANG, asked).await.unwrap().unwrap().into_body();
    for i in 0..20 {
        let word = Bytes::from(format!("word {i}"));
        said.send_data(word.clone(), false).unwrap();
        assert_eq!(timeout(HANG, heard.data()).await.unwrap().unwrap().unwrap(), word);
        answer.send_data(word.clone(), false).unwrap();
        assert_eq!(timeout(HANG, hears.data()).await.unwrap().unwrap().unwrap(), word);
    }
    said.send_trailers(HeaderMap::from_iter([("up".parse().unwrap(), "1".parse().unwrap())])).unwrap();
    assert!(rest(&mut heard).await.unwrap().is_empty());
    assert_eq!(trailers(&mut heard).await["up"], "1");
    answer
        .send_trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]))
        .unwrap();
    assert!(rest(&mut hears).await.unwrap().is_empty());
    assert_eq!(trailers(&mut hears).await["grpc-status"], "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_to_an_http2_upstream_serves_again() {
    let mut world = World::new();
    let mut client = h2_tunnel(&mut world, "a.test");
    let mut visitor = Visitor::new(&world).await;
    let mut upstream = None;
    for i in 0..5 {
        let asked = visitor.start(&format!("http://a.test/{i}")).await;
        if upstream.is_none() {
            upstream = Some(accept_h2(&mut client).await);
        }
        let upstream = upstream.as_mut().unwrap();
        let (request, mut respond) = next(upstream).await;
        assert_eq!(request.uri().path(), format!("/{i}"));
        respond.send_response(Response::new(()), true).unwrap();
        tokio::select! {
            answer = asked => assert_eq!(answer.unwrap().status(), StatusCode::OK),
            // It goes on while the answer is on its way.
            _ = upstream.accept() => panic!("nobody asked"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_upstream_that_refuses_a_call_in_its_words_serves_the_next_ones_on_one_connection() {
    let mut world = World::new();
    let mut client = h2_tunnel(&mut world, "a.test");
    let mut visitor = Visitor::new(&world).await;
    let mut upstream = None;
    for is_refused in [false, true, false, false] {
        let call = Request::post("http://a.test/").body(()).unwrap();
        let asked = visitor.send(call, true).await.0;
        if upstream.is_none() {
            upstream = Some(accept_h2(&mut client).await);
        }
        let mut asking = upstream.take().unwrap();
        let (_call, mut respond) = next(&mut asking).await;
        if is_refused {
            respond.send_reset(Reason::INTERNAL_ERROR);
        } else {
            respond.send_response(Response::new(()), true).unwrap();
        }
        let status = if is_refused { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
        let answered = async { assert_eq!(asked.await.unwrap().status(), status) };
        tokio::select! {
            () = answered => {}
            // It goes on while the answer is on its way.
            Some(Ok(_)) = asking.accept() => panic!("nobody asked"),
        }
        // What was refused takes its connection with it.
        upstream = (!is_refused).then_some(asking);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_side_hears_that_the_other_gave_up() {
    let mut world = World::new();
    let mut client = h2_tunnel(&mut world, "a.test");
    let mut visitor = Visitor::new(&world).await;
    for by_visitor in [true, false] {
        let asked = visitor.start("http://a.test/").await;
        let mut upstream = accept_h2(&mut client).await;
        let (_request, mut respond) = next(&mut upstream).await;
        let _going = keep_going(upstream);
        let mut answer = respond.send_response(Response::new(()), false).unwrap();
        let mut body = timeout(HANG, asked).await.unwrap().unwrap().into_body();
        if by_visitor {
            drop(body);
            let reason = timeout(HANG, poll_fn(|cx| answer.poll_reset(cx))).await.unwrap().unwrap();
            assert_eq!(reason, Reason::CANCEL, "and not a lost connection");
        } else {
            answer.send_reset(Reason::ENHANCE_YOUR_CALM);
            let error = rest(&mut body).await.unwrap_err();
            assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http1_visitor_gets_through_to_an_http2_upstream() {
    let mut world = World::new();
    let mut client = h2_tunnel(&mut world, "a.test");
    let mut visitor = world.visit().await;
    visitor
        .say("POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        .await;
    let mut upstream = accept_h2(&mut client).await;
    let (request, mut respond) = next(&mut upstream).await;
    let _going = keep_going(upstream);
    assert_eq!(request.uri().authority().unwrap(), "a.test");
    assert_eq!(rest(&mut request.into_body()).await.unwrap(), "hello");
    let mut answer = respond
        .send_response(Response::builder().header("content-length", "2").body(()).unwrap(), false)
        .unwrap();
    answer.send_data("ok".into(), true).unwrap();
    let (head, body) = visitor.answer().await;
    assert!(head.starts_with("http/1.1 200 ok"), "{head}");
    assert_eq!(body, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_does_not_speak_http2_is_told_from_one_that_is_not_there() {
    let mut world = World::new();
    let mut client = h2_tunnel(&mut world, "a.test");
    let mut visitor = Visitor::new(&world).await;
    let asked = visitor.start("http://a.test/").await;
    let mut upstream = client.accept().await;
    upstream.say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let (response, page) = whole(timeout(HANG, asked).await.unwrap().unwrap()).await;
    assert_eq!(response.headers()["tunnel-error"], Code::UpstreamMalformed.name());
    assert!(String::from_utf8_lossy(&page).contains("--upstream-protocol"), "{page:?}");
    let asked = visitor.start("http://a.test/").await;
    let (_, mut refused) = client.accept_raw().await;
    refused.io.write_all(&tunnel_protocol::StreamReply::Accepted.encode()).await.unwrap();
    refused
        .io
        .write_all(&tunnel_protocol::StreamReply::Refused(Code::UpstreamRefused).encode())
        .await
        .unwrap();
    let (response, _) = whole(timeout(HANG, asked).await.unwrap().unwrap()).await;
    assert_eq!(response.headers()["tunnel-error"], Code::UpstreamRefused.name());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_nobody_looked_at_is_sent_again() {
    let mut world = World::new();
    let mut client = h2_tunnel(&mut world, "a.test");
    let mut visitor = Visitor::new(&world).await;
    let call = Request::post("http://a.test/").body(()).unwrap();
    let (asked, _) = visitor.send(call, true).await;
    let mut upstream = accept_h2(&mut client).await;
    let (_, mut respond) = next(&mut upstream).await;
    respond.send_reset(Reason::REFUSED_STREAM);
    let _going = keep_going(upstream);
    let mut upstream = accept_h2(&mut client).await;
    let (_, mut respond) = next(&mut upstream).await;
    let _going = keep_going(upstream);
    respond.send_response(Response::new(()), true).unwrap();
    assert_eq!(timeout(HANG, asked).await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_told_what_went_wrong_in_its_own_words() {
    let world = World::new();
    let mut visitor = Visitor::new(&world).await;
    let call =
        Request::post("http://a.test/s.S/m").header("content-type", "application/grpc").body(()).unwrap();
    let (asked, _) = visitor.send(call, true).await;
    let mut answer = timeout(HANG, asked).await.unwrap().unwrap();
    assert!(rest(answer.body_mut()).await.unwrap().is_empty());
    assert_eq!((answer.status(), &answer.headers()["grpc-status"]), (StatusCode::OK, &"12".parse().unwrap()));
    assert!(answer.headers()["grpc-message"].to_str().unwrap().contains("a.test"));
    assert_eq!(answer.headers()["tunnel-error"], Code::TunnelNotFound.name());
}
