//! Connections that split, stall and lie.

use std::{future::poll_fn, time::Duration};

use ::http::HeaderMap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinSet,
};
use tunnel_router::{Framing, HeadLimits, Method};

use super::*;
use crate::http::http1::{
    head::{self, Asked},
    linger::hear_out,
};

impl Socket for DuplexStream {
    fn abort(&mut self) {}
}

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(15),
    idle: Duration::from_secs(75),
    stall: Duration::from_secs(60),
    linger: Duration::from_secs(2),
};

/// Who serves a connection.
struct Server {
    wire: Wire,
    reader: HeadReader,
}

fn connect(buffer: usize) -> (Server, DuplexStream) {
    let (near, far) = duplex(buffer);
    let wire = Wire::new(Box::new(near), Bytes::new(), PATIENCE, Instant::now());
    (Server { wire, reader: HeadReader::new(HeadLimits::default()) }, far)
}

impl Server {
    /// The next request; `None` if no more come.
    async fn next(&mut self) -> Option<Result<Asked, Refusal>> {
        let came = poll_fn(|cx| self.wire.poll_head(cx, &mut self.reader)).await.unwrap()?;
        Some(came.and_then(|(head, bytes)| head::admit(&head, &bytes)))
    }

    fn body(&self, asked: &Asked) -> Option<Body> {
        Some(self.wire.lend(Follower::new(asked.facts.framing)?, asked.facts.expects_continue))
    }

    /// Whether nobody hung up.
    async fn is_there(&self) -> bool {
        poll_fn(|cx| Poll::Ready(self.wire.poll_gone(cx).is_pending())).await
    }

    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| self.wire.poll_write(cx, &[IoSlice::new(bytes)])).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }
}

/// All of a body, and what trails it.
async fn whole(mut body: Body) -> io::Result<(Vec<u8>, Option<HeaderMap>)> {
    let (mut data, mut trailers) = (Vec::new(), None);
    while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(piece) => data.extend_from_slice(&piece),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    assert!(body.is_end_stream());
    Ok((data, trailers))
}

fn head(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{more}\r\n")
}

#[tokio::test]
async fn requests_come_one_by_one_however_the_bytes_come() {
    let with_length = "POST /1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello".to_owned();
    let chunked = "POST /2 HTTP/1.1\r\nHost: b.test:80\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"
        .to_owned();
    let bare = head("/3", "");
    let requests = [
        (with_length, "a.test", Some("hello"), None),
        (chunked, "b.test", Some("abcde"), Some("1")),
        (bare, "a.test", None, None),
    ];
    let all: String = requests.iter().map(|(request, ..)| request.as_str()).collect();
    for piece in [1, 2, 3, 7, 64, 4096] {
        let (mut server, mut far) = connect(piece);
        let say = async {
            far.write_all(all.as_bytes()).await.unwrap();
            far
        };
        let listen = async {
            for (_, host, body, sum) in &requests {
                let asked = server.next().await.unwrap().unwrap();
                assert_eq!(asked.facts.host.as_str(), *host, "pieces of {piece}");
                if let Some(came) = server.body(&asked) {
                    let (data, trailers) = whole(came).await.unwrap();
                    assert_eq!(data, body.unwrap().as_bytes());
                    assert_eq!(trailers.as_ref().map(|trailers| trailers["x-sum"].to_str().unwrap()), *sum);
                }
                assert!(server.is_there().await);
                assert!(hear_out(&server.wire).await);
                server.wire.await_head();
            }
            server
        };
        let (server, _far) = tokio::join!(listen, say);
        assert_eq!(server.wire.lock().stash.capacity(), 0, "nothing is held at rest");
    }
}

#[tokio::test]
async fn what_a_head_says_is_read_once() {
    let (mut server, mut far) = connect(4096);
    let request = "PUT /x?y HTTP/1.1\r\nHost: A.Test:8080\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\
                   X-A: 1\r\nTE: trailers\r\nx-a: 2\r\nX-Empty:\r\n\r\n";
    far.write_all(request.as_bytes()).await.unwrap();
    let Asked { request, facts, terms } = server.next().await.unwrap().unwrap();
    assert_eq!(
        (facts.host.as_str(), facts.framing, facts.expects_continue),
        ("a.test", Framing::Length(0), true)
    );
    assert!(facts.method == Method::Put && !facts.has_body() && facts.upgrade.is_none());
    assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), ("PUT", "/x?y"));
    let values: Vec<_> = request.headers().get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "2"]);
    assert_eq!(request.headers()["x-empty"], "");
    assert!(terms.keep_alive && terms.takes_trailers && !terms.is_head);
}

/// Each of these has been read in two ways by some pair of servers. None may pass, nor anything behind it.
#[tokio::test]
async fn nothing_ambiguous_passes() {
    let long = format!("X: {}", "a".repeat(40_000));
    let many = "X: 1\r\n".repeat(101);
    for (bad, code) in [
        ("GET / HTTP/1.1\r\n\r\n", Code::BadRequest),
        ("GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n", Code::BadRequest),
        ("GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n", Code::BadRequest),
        ("GET / HTTP/1.1\nHost: a.test\n\n", Code::BadRequest),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n folded\r\n\r\n", Code::BadRequest),
        ("GET / HTTP/1.1\r\nHost : a.test\r\n\r\n", Code::BadRequest),
        ("\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n", Code::BadRequest),
        ("GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", Code::BadRequest),
        (
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            Code::BadRequest,
        ),
        ("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n", Code::BadRequest),
        ("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding:\x0bchunked\r\n\r\n", Code::BadRequest),
        ("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +1\r\n\r\n", Code::BadRequest),
        ("POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n", Code::BadRequest),
        ("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Host\r\n\r\n", Code::BadRequest),
        ("GET /<x> HTTP/1.1\r\nHost: a.test\r\n\r\n", Code::BadRequest),
        ("CONNECT a.test:22 HTTP/1.1\r\nHost: a.test:22\r\n\r\n", Code::MethodNotAllowed),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Code::VersionNotSupported),
        ("GET / HTTP/3.0\r\n\r\n", Code::VersionNotSupported),
        (&head("/", &format!("{long}\r\n")), Code::HeadTooLarge),
        (&head("/", &many), Code::HeadTooLarge),
        ("\x16\x03\x01\x02\x00\x01\x00", Code::BadRequest),
    ] {
        let (mut server, mut far) = connect(1 << 20);
        let good = head("/good", "");
        far.write_all(format!("{good}{bad}{good}").as_bytes()).await.unwrap();
        assert!(server.next().await.unwrap().is_ok(), "what came before is answered first");
        server.wire.await_head();
        assert_eq!(server.next().await.unwrap().unwrap_err().code, code, "{bad:?}");
    }
}

#[tokio::test]
async fn a_broken_chunk_is_an_error_in_the_body_and_the_last_that_is_read() {
    for bad in ["3\r\nabcX\r\n", "0x3\r\nabc\r\n", "3\nabc\r\n", "0\r\nContent-Length: 3\r\n\r\n"] {
        for is_read in [true, false] {
            let (mut server, mut far) = connect(4096);
            let head = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
            far.write_all(format!("{head}{bad}").as_bytes()).await.unwrap();
            let asked = server.next().await.unwrap().unwrap();
            let body = server.body(&asked).unwrap();
            if is_read {
                assert_eq!(whole(body).await.unwrap_err().kind(), io::ErrorKind::InvalidData, "{bad:?}");
                assert!(!server.wire.may_go_on(), "which its answer says");
            } else {
                drop(body);
            }
            assert!(!hear_out(&server.wire).await, "{bad:?}");
        }
    }
}

#[tokio::test]
async fn bytes_behind_an_upgrade_request_wait_for_what_becomes_of_it() {
    let asks = head("/ws", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n");
    for is_upgraded in [true, false] {
        let (mut server, mut far) = connect(4096);
        let next = head("/admin", "");
        far.write_all(format!("{asks}{next}").as_bytes()).await.unwrap();
        let asked = server.next().await.unwrap().unwrap();
        assert_eq!(asked.facts.upgrade.as_deref(), Some("websocket"));
        assert!(server.is_there().await);
        if is_upgraded {
            let (mut io, ahead) = server.wire.hand_over().unwrap();
            assert_eq!(ahead, next);
            far.write_all(b"\x00any bytes").await.unwrap();
            let mut bytes = [0; 10];
            io.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"\x00any bytes");
        } else {
            server.wire.await_head();
            let asked = server.next().await.unwrap().unwrap();
            assert_eq!(asked.request.uri().path(), "/admin", "it is a request of its own");
        }
    }
}

#[tokio::test]
async fn an_upgrade_is_one_if_both_fields_say_so_and_not_to_http2() {
    for (more, upgrade) in [
        ("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n", None),
        ("Upgrade: websocket\r\n", None),
        ("uPGRADE:tcp\r\nConnection: x, upgrade\r\nContent-Length: 2\r\n", Some("tcp")),
    ] {
        let (mut server, mut far) = connect(4096);
        far.write_all(head("/", more).as_bytes()).await.unwrap();
        assert_eq!(server.next().await.unwrap().unwrap().facts.upgrade.as_deref(), upgrade, "{more}");
    }
}

#[tokio::test]
async fn hanging_up_is_noticed_while_the_answer_is_under_way() {
    for body in ["", "abc"] {
        let (mut server, mut far) = connect(4096);
        let request = head("/", &format!("Content-Length: {}\r\n", body.len()));
        far.write_all(format!("{request}{body}{request}").as_bytes()).await.unwrap();
        let asked = server.next().await.unwrap().unwrap();
        if let Some(body) = server.body(&asked) {
            assert!(server.is_there().await, "while the body is lent nobody knows");
            whole(body).await.unwrap();
        }
        drop(far);
        poll_fn(|cx| server.wire.poll_gone(cx)).await;
    }
}

#[tokio::test]
async fn who_serves_a_connection_hears_when_a_body_was_read_elsewhere() {
    let (mut server, mut far) = connect(4096);
    far.write_all(head("/", "Content-Length: 3\r\n").as_bytes()).await.unwrap();
    let asked = server.next().await.unwrap().unwrap();
    let body = server.body(&asked).unwrap();
    let (mut reading, mut waiting) = (JoinSet::new(), JoinSet::new());
    reading.spawn(whole(body));
    let wire = server.wire.clone();
    waiting.spawn(async move { poll_fn(|cx| wire.poll_gone(cx)).await });
    far.write_all(b"abc").await.unwrap();
    assert_eq!(reading.join_next().await.unwrap().unwrap().unwrap().0, b"abc");
    drop(far);
    waiting.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn hanging_up_is_noticed_while_nobody_reads_the_body() {
    for more in ["Content-Length: 9\r\nExpect: 100-continue\r\n", "Content-Length: 9\r\n"] {
        let (mut server, mut far) = connect(4096);
        far.write_all(head("/", more).as_bytes()).await.unwrap();
        let asked = server.next().await.unwrap().unwrap();
        let body = server.body(&asked).unwrap();
        assert!(server.is_there().await);
        let _held = asked.facts.expects_continue.then_some(body);
        drop(far);
        poll_fn(|cx| server.wire.poll_gone(cx)).await;
    }
}

#[tokio::test]
async fn a_body_that_was_held_back_is_read_by_whom_asks_for_it() {
    let (mut server, mut far) = connect(4096);
    far.write_all(head("/", "Content-Length: 3\r\nExpect: 100-continue\r\n").as_bytes()).await.unwrap();
    let asked = server.next().await.unwrap().unwrap();
    let body = server.body(&asked).unwrap();
    let (mut reading, mut waiting) = (JoinSet::new(), JoinSet::new());
    let wire = server.wire.clone();
    waiting.spawn(async move { poll_fn(|cx| wire.poll_gone(cx)).await });
    // It has begun to wait.
    tokio::task::yield_now().await;
    reading.spawn(whole(body));
    far.read_exact(&mut [0; CONTINUE.len()]).await.unwrap();
    far.write_all(b"abc").await.unwrap();
    assert_eq!(reading.join_next().await.unwrap().unwrap().unwrap().0, b"abc");
    drop(far);
    waiting.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn nobody_is_asked_for_a_body_whose_answer_is_over() {
    let (mut server, mut far) = connect(4096);
    far.write_all(head("/", "Content-Length: 3\r\nExpect: 100-continue\r\n").as_bytes()).await.unwrap();
    let asked = server.next().await.unwrap().unwrap();
    let mut body = server.body(&asked).unwrap();
    server.wire.begin_answer();
    assert!(!server.wire.may_go_on());
    assert!(poll_fn(|cx| Poll::Ready(body.poll_frame(cx).is_pending())).await);
    drop(body);
    assert!(matches!(server.wire.lock().rest, Rest::Unknown), "it may never come");
    assert!(server.wire.lock().interim.is_empty());
}

/// A socket that keeps what is written until it was flushed twice, as TLS may on a full one.
struct Slow(DuplexStream, bool);

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.1 = !self.1;
        if self.1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Socket for Slow {
    fn abort(&mut self) {}
}

#[tokio::test]
async fn who_waits_to_be_asked_is_asked_once_also_if_that_takes_a_while() {
    let (near, mut far) = duplex(4096);
    let asks = head("/", "Content-Length: 3\r\nExpect: 100-continue\r\n");
    let wire = Wire::new(Box::new(Slow(near, false)), asks.into(), PATIENCE, Instant::now());
    let mut server = Server { wire, reader: HeadReader::new(HeadLimits::default()) };
    let asked = server.next().await.unwrap().unwrap();
    let mut body = server.body(&asked).unwrap();
    for _ in 0..4 {
        // As in `exchange`.
        poll_fn(|cx| Poll::Ready(body.poll_frame(cx).is_pending())).await;
        assert!(server.is_there().await);
    }
    assert!(!server.wire.lock().is_unflushed);
    drop((body, server));
    let mut said = Vec::new();
    far.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, CONTINUE);
}

#[tokio::test]
async fn who_asks_for_a_body_hears_of_it_also_if_its_answer_begins_before_that_was_said() {
    // There is no room for all that is said.
    let (mut server, mut far) = connect(8);
    let asks = head("/", "Content-Length: 3\r\nExpect: 100-continue\r\n");
    let (asked, ()) = tokio::join!(server.next(), async { far.write_all(asks.as_bytes()).await.unwrap() });
    let body = server.body(&asked.unwrap().unwrap()).unwrap();
    let mut reading = JoinSet::new();
    reading.spawn(whole(body));
    let mut answering = JoinSet::new();
    let wire = server.wire.clone();
    answering.spawn(async move {
        let mut is_asked = false;
        poll_fn(|cx| {
            // As in `exchange`, which waits for more than this.
            assert!(wire.poll_gone(cx).is_pending());
            if mem::replace(&mut is_asked, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        wire.begin_answer();
        server.write(b"answer").await.unwrap();
        server
    });
    let mut said = vec![0; CONTINUE.len() + 6];
    far.read_exact(&mut said).await.unwrap();
    assert_eq!(said, [CONTINUE, b"answer"].concat());
    far.write_all(b"abc").await.unwrap();
    assert_eq!(reading.join_next().await.unwrap().unwrap().unwrap().0, b"abc");
}

#[tokio::test(start_paused = true)]
async fn who_was_heard_out_has_the_same_times() {
    let asks = head("/", "Content-Length: 3\r\n");
    for (ahead, then, patience) in [
        ("abc", "", PATIENCE.idle),
        ("abcGET", "", PATIENCE.head),
        ("", "abc", PATIENCE.idle),
        ("", "abcGET", PATIENCE.head),
        ("a", "bcGET", PATIENCE.head),
    ] {
        let (mut server, mut far) = connect(4096);
        far.write_all(format!("{asks}{ahead}").as_bytes()).await.unwrap();
        let asked = server.next().await.unwrap().unwrap();
        drop(server.body(&asked));
        far.write_all(then.as_bytes()).await.unwrap();
        assert!(hear_out(&server.wire).await);
        server.wire.await_head();
        let start = Instant::now();
        assert_eq!(server.next().await.is_none(), patience == PATIENCE.idle);
        assert_eq!(start.elapsed(), patience, "{ahead:?} {then:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_still_read_when_its_answer_is_over_is_waited_for() {
    for (is_given_back, is_next) in [(true, true), (false, false)] {
        let (mut server, mut far) = connect(4096);
        far.write_all(head("/", "Content-Length: 3\r\n").as_bytes()).await.unwrap();
        let asked = server.next().await.unwrap().unwrap();
        let mut body = server.body(&asked);
        assert!(server.wire.may_go_on());
        let give_back = async {
            tokio::task::yield_now().await;
            if is_given_back {
                body = None;
            }
            far.write_all(format!("abc{}", head("/next", "")).as_bytes()).await.unwrap();
        };
        let (is_settled, ()) = tokio::join!(hear_out(&server.wire), give_back);
        assert_eq!(is_settled, is_next);
        if is_next {
            server.wire.await_head();
            assert_eq!(server.next().await.unwrap().unwrap().request.uri().path(), "/next");
        }
        drop(body);
    }
}

#[tokio::test]
async fn who_waits_to_be_asked_for_a_body_is_asked_once_and_not_behind_an_answer() {
    let asks = head("/", "Expect: 100-continue\r\nContent-Length: 3\r\n");
    for (is_early, is_answered) in [(false, false), (true, false), (false, true)] {
        let (mut server, mut far) = connect(4096);
        far.write_all(asks.as_bytes()).await.unwrap();
        let asked = server.next().await.unwrap().unwrap();
        let mut body = server.body(&asked).unwrap();
        if is_early {
            far.write_all(b"abc").await.unwrap();
            poll_fn(|cx| server.wire.lock().poll_fill(cx)).await.unwrap();
        }
        if is_answered {
            server.wire.begin_answer();
        }
        poll_fn(|cx| Poll::Ready(body.poll_frame(cx).is_pending())).await;
        server.write(b"|").await.unwrap();
        let mut said = vec![0; 100];
        let length = far.read(&mut said).await.unwrap();
        said.truncate(length);
        let expected: &[u8] = if is_early || is_answered { b"" } else { CONTINUE };
        assert_eq!(said, [expected, b"|"].concat());
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_request_is_heard_out_if_it_is_short() {
    for (framing, sent, is_next) in [
        ("Content-Length: 100000\r\n", "x".repeat(100_000), true),
        ("Content-Length: 100000\r\n", "x".repeat(99_999), false),
        ("Content-Length: 1000000\r\n", "x".repeat(1_000_000), false),
        ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n".into(), true),
        ("Transfer-Encoding: chunked\r\n", format!("f0000\r\n{}", "x".repeat(0xf0000)), false),
        ("Content-Length: 3\r\nExpect: 100-continue\r\n", String::new(), false),
        ("Content-Length: 3\r\nExpect: 100-continue\r\n", "abc".into(), true),
    ] {
        let (mut server, mut far) = connect(1 << 21);
        let next = if is_next { head("/next", "") } else { String::new() };
        far.write_all(format!("{}{sent}{next}", head("/", framing)).as_bytes()).await.unwrap();
        let asked = server.next().await.unwrap().unwrap();
        drop(server.body(&asked));
        server.wire.begin_answer();
        let may_go_on = server.wire.may_go_on();
        assert!(may_go_on || !is_next, "{framing}");
        let is_settled = hear_out(&server.wire).await;
        assert_eq!(is_settled, is_next, "{framing}");
        if is_next {
            server.wire.await_head();
            assert_eq!(server.next().await.unwrap().unwrap().request.uri().path(), "/next");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_visitor_that_says_nothing_is_let_go_silently() {
    let (mut server, _far) = connect(4096);
    let start = Instant::now();
    assert!(server.next().await.is_none());
    assert_eq!(start.elapsed(), PATIENCE.head);
}

#[tokio::test(start_paused = true)]
async fn between_requests_a_visitor_may_rest_for_a_while() {
    let (mut server, mut far) = connect(4096);
    far.write_all(head("/", "").as_bytes()).await.unwrap();
    server.next().await.unwrap().unwrap();
    tokio::time::advance(Duration::from_secs(1000)).await;
    assert!(server.is_there().await, "an answer may take as long as it likes");
    server.wire.await_head();
    let start = Instant::now();
    assert!(server.next().await.is_none());
    assert_eq!(start.elapsed(), PATIENCE.idle);
}

#[tokio::test(start_paused = true)]
async fn a_head_has_a_time_from_its_first_byte() {
    let (mut server, mut far) = connect(4096);
    far.write_all(head("/", "").as_bytes()).await.unwrap();
    server.next().await.unwrap().unwrap();
    server.wire.await_head();
    let start = Instant::now();
    let drip = async {
        // sleep: the clock is paused, this is what moves it
        tokio::time::sleep(Duration::from_secs(70)).await;
        for byte in head("/slow", "").bytes() {
            // sleep: the clock is paused, this is what moves it
            tokio::time::sleep(Duration::from_secs(1)).await;
            far.write_all(&[byte]).await.unwrap();
        }
    };
    let next = server.next();
    let came = tokio::select! { came = next => came, () = drip => panic!("a slow head passed") };
    assert_eq!(came.unwrap().unwrap_err().code, Code::RequestTimeout);
    assert_eq!(start.elapsed(), Duration::from_secs(71) + PATIENCE.head);
}

#[tokio::test(start_paused = true)]
async fn a_body_must_get_on_and_so_must_the_answer() {
    let (mut server, mut far) = connect(4096);
    far.write_all(head("/", "Content-Length: 9\r\n").as_bytes()).await.unwrap();
    far.write_all(b"some").await.unwrap();
    let asked = server.next().await.unwrap().unwrap();
    let start = Instant::now();
    let error = whole(server.body(&asked).unwrap()).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (io::ErrorKind::TimedOut, PATIENCE.stall));
    assert!(!server.wire.may_go_on(), "its rest is not waited for");
    let start = Instant::now();
    let error = server.write(&[0; 10_000]).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (io::ErrorKind::TimedOut, PATIENCE.stall));
}

#[tokio::test]
async fn only_the_end_of_a_connection_with_an_answer_under_way_is_an_error() {
    let (mut server, mut far) = connect(4096);
    assert!(!server.wire.lock().is_busy);
    far.write_all(head("/", "").as_bytes()).await.unwrap();
    server.next().await.unwrap().unwrap();
    assert!(server.wire.lock().is_busy);
    server.wire.end_answer();
    assert!(!server.wire.lock().is_busy);
    far.write_all(b"no request\r\n\r\n").await.unwrap();
    server.next().await.unwrap().unwrap_err();
    assert!(server.wire.lock().is_busy, "that is answered, too");
}

#[tokio::test(start_paused = true)]
async fn closing_hears_out_a_visitor_that_is_still_sending() {
    let (mut server, mut far) = connect(4096);
    far.write_all(head("/", "Content-Length: 99999\r\n").as_bytes()).await.unwrap();
    server.next().await.unwrap().unwrap();
    let send = async {
        far.write_all(&[0; 50_000]).await.unwrap();
        assert_eq!(far.read(&mut [0; 9]).await.unwrap(), 0, "the end is there all the while");
        Instant::now()
    };
    let (closed, sent) = tokio::join!(server.wire.close(false), send);
    closed.unwrap();
    assert_eq!(sent.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_at_rest_is_closed_at_once() {
    let (server, _far) = connect(4096);
    let start = Instant::now();
    server.wire.close(true).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}
