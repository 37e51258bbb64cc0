//! Connections that split, stall and lie.

mod asking;
mod times;

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
                assert!(!server.wire.may_go_on(false), "which its answer says");
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
