//! The gate over pipes that split, stall and lie.

use std::{future::poll_fn, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};
use tunnel_router::Framing;

use super::*;

impl Socket for DuplexStream {
    fn abort(&mut self) {}
}

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(15),
    idle: Duration::from_secs(75),
    stall: Duration::from_secs(60),
    linger: Duration::from_secs(2),
};

fn gate(buffer: usize) -> (Gate<DuplexStream>, Turns, DuplexStream) {
    let (near, far) = duplex(buffer);
    let (gate, turns) = Gate::new(near, Bytes::new(), PATIENCE, Instant::now());
    (gate, turns, far)
}

/// Reads what the gate lets pass, at least `most` bytes of it unless it ends.
async fn read(gate: &mut Gate<DuplexStream>, most: usize) -> Vec<u8> {
    let mut passed = Vec::new();
    while passed.len() < most {
        let mut piece = [0; 1000];
        match gate.read(&mut piece).await.unwrap() {
            0 => break,
            read => passed.extend_from_slice(&piece[..read]),
        }
    }
    passed
}

/// Whether the gate lets nothing pass now.
async fn is_shut(gate: &mut Gate<DuplexStream>) -> bool {
    let mut piece = [0; 1000];
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *gate).poll_read(cx, &mut ReadBuf::new(&mut piece)).is_pending()))
        .await
}

fn head(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{more}\r\n")
}

#[tokio::test]
async fn one_request_passes_at_a_time_however_the_bytes_come() {
    let with_length = "POST /1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello".to_owned();
    let chunked = "POST /2 HTTP/1.1\r\nHost: b.test:80\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
        .to_owned();
    let bare = head("/3", "");
    let requests = [(with_length, "a.test"), (chunked, "b.test"), (bare, "a.test")];
    let all: String = requests.iter().map(|(request, _)| request.as_str()).collect();
    for piece in [1, 2, 3, 7, 64, 4096] {
        let (mut gate, turns, mut far) = gate(piece);
        let say = async {
            far.write_all(all.as_bytes()).await.unwrap();
            far
        };
        let listen = async {
            for (request, host) in &requests {
                assert_eq!(read(&mut gate, request.len()).await, request.as_bytes(), "pieces of {piece}");
                let (verdict, _turn) = turns.take().unwrap();
                assert_eq!(verdict.unwrap().host.as_str(), *host);
                assert!(is_shut(&mut gate).await);
                assert!(turns.take().is_none());
            }
            gate
        };
        let (gate, _far) = tokio::join!(listen, say);
        assert_eq!(gate.stash.capacity(), 0, "nothing is held at rest");
    }
}

#[tokio::test]
async fn what_the_gate_read_is_what_the_service_gets() {
    let (mut gate, turns, mut far) = gate(4096);
    let request = "PUT /x HTTP/1.1\r\nHost: A.Test:8080\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n";
    far.write_all(request.as_bytes()).await.unwrap();
    read(&mut gate, request.len()).await;
    let facts = turns.take().unwrap().0.unwrap();
    assert_eq!(
        (facts.host.as_str(), facts.framing, facts.expects_continue),
        ("a.test", Framing::Length(0), true)
    );
    assert!(facts.method.is_idempotent() && !facts.has_body() && facts.upgrade.is_none());
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
        let (mut gate, turns, mut far) = gate(1 << 20);
        let good = head("/good", "");
        far.write_all(format!("{good}{bad}{good}").as_bytes()).await.unwrap();
        assert_eq!(read(&mut gate, good.len()).await, good.as_bytes());
        let (first, turn) = turns.take().unwrap();
        assert!(first.is_ok() && is_shut(&mut gate).await, "what came before is answered first");
        drop(turn);
        assert_eq!(read(&mut gate, SENTINEL.len()).await, SENTINEL, "{bad:?}");
        let (second, turn) = turns.take().unwrap();
        assert_eq!(second.unwrap_err().code, code, "{bad:?}");
        drop(turn);
        assert!(is_shut(&mut gate).await && turns.take().is_none(), "nothing passes behind {bad:?}");
    }
}

#[tokio::test]
async fn a_broken_chunk_is_an_error_in_the_body() {
    for bad in ["3\r\nabcX\r\n", "0x3\r\nabc\r\n", "3\nabc\r\n", "0\r\nContent-Length: 3\r\n\r\n"] {
        let (mut gate, _turns, mut far) = gate(4096);
        let head = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        far.write_all(format!("{head}{bad}").as_bytes()).await.unwrap();
        read(&mut gate, head.len()).await;
        let error = gate.read(&mut [0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bad:?}");
    }
}

#[tokio::test]
async fn bytes_behind_an_upgrade_request_wait_for_what_becomes_of_it() {
    let asks = head("/ws", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n");
    for is_upgraded in [true, false] {
        let (mut gate, turns, mut far) = gate(4096);
        let next = head("/admin", "");
        far.write_all(format!("{asks}{next}").as_bytes()).await.unwrap();
        assert_eq!(read(&mut gate, asks.len()).await, asks.as_bytes());
        let (verdict, turn) = turns.take().unwrap();
        assert_eq!(verdict.unwrap().upgrade.as_deref(), Some("websocket"));
        assert!(is_shut(&mut gate).await);
        if is_upgraded {
            turn.upgrade();
            far.write_all(b"\x00any bytes").await.unwrap();
            let all = format!("{next}\x00any bytes");
            assert_eq!(read(&mut gate, all.len()).await, all.as_bytes());
            assert!(turns.take().is_none());
        } else {
            drop(turn);
            assert_eq!(read(&mut gate, next.len()).await, next.as_bytes());
            assert!(turns.take().unwrap().0.is_ok(), "it is a request of its own");
        }
    }
}

#[tokio::test]
async fn an_upgrade_that_cannot_be_is_hidden() {
    for more in [
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n",
        "Upgrade: websocket\r\n",
        "uPGRADE:websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n",
    ] {
        let (mut gate, turns, mut far) = gate(4096);
        let asks = head("/", more);
        far.write_all(asks.as_bytes()).await.unwrap();
        let hidden: String =
            more.split_inclusive('\n').filter(|line| !line.to_lowercase().starts_with("upgrade")).collect();
        let passes = head("/", &hidden);
        assert_eq!(read(&mut gate, passes.len()).await, passes.as_bytes());
        assert_eq!(turns.take().unwrap().0.unwrap().upgrade, None);
    }
}

#[tokio::test]
async fn hanging_up_is_noticed_while_the_answer_is_under_way() {
    let (mut gate, turns, mut far) = gate(4096);
    let request = head("/", "");
    far.write_all(format!("{request}{request}").as_bytes()).await.unwrap();
    read(&mut gate, request.len()).await;
    let _turn = turns.take().unwrap();
    drop(far);
    assert_eq!(gate.read(&mut [0; 100]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_visitor_that_says_nothing_is_let_go_silently() {
    let (mut gate, turns, _far) = gate(4096);
    let start = Instant::now();
    assert_eq!(gate.read(&mut [0; 100]).await.unwrap(), 0);
    assert_eq!(start.elapsed(), PATIENCE.head);
    assert!(turns.take().is_none());
}

#[tokio::test(start_paused = true)]
async fn between_requests_a_visitor_may_rest_for_a_while() {
    let (mut gate, turns, mut far) = gate(4096);
    let request = head("/", "");
    far.write_all(request.as_bytes()).await.unwrap();
    read(&mut gate, request.len()).await;
    let turn = turns.take().unwrap();
    tokio::time::advance(Duration::from_secs(1000)).await;
    assert!(is_shut(&mut gate).await, "an answer may take as long as it likes");
    drop(turn);
    let start = Instant::now();
    assert_eq!(gate.read(&mut [0; 100]).await.unwrap(), 0);
    assert_eq!(start.elapsed(), PATIENCE.idle);
}

#[tokio::test(start_paused = true)]
async fn a_head_has_a_time_from_its_first_byte() {
    let (mut gate, turns, mut far) = gate(4096);
    let request = head("/", "");
    far.write_all(request.as_bytes()).await.unwrap();
    read(&mut gate, request.len()).await;
    drop(turns.take());
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
    let listen = read(&mut gate, SENTINEL.len());
    let passed = tokio::select! { passed = listen => passed, () = drip => panic!("a slow head passed") };
    assert_eq!(passed, SENTINEL);
    assert_eq!(turns.take().unwrap().0.unwrap_err().code, Code::RequestTimeout);
    assert_eq!(start.elapsed(), Duration::from_secs(71) + PATIENCE.head);
}

#[tokio::test(start_paused = true)]
async fn a_body_must_get_on_and_so_must_the_answer() {
    let (mut gate, _turns, mut far) = gate(4096);
    let request = "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\n";
    far.write_all(request.as_bytes()).await.unwrap();
    read(&mut gate, request.len()).await;
    let start = Instant::now();
    let send = async {
        for _ in 0..3 {
            // sleep: the clock is paused, this is what moves it
            tokio::time::sleep(PATIENCE.stall - Duration::from_secs(1)).await;
            far.write_all(b"x").await.unwrap();
        }
    };
    let receive = async {
        assert_eq!(read(&mut gate, 3).await, b"xxx");
        gate.read(&mut [0; 9]).await.unwrap_err()
    };
    let ((), error) = tokio::join!(send, receive);
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed(), 4 * PATIENCE.stall - Duration::from_secs(3));

    let start = Instant::now();
    let error = gate.write_all(&[0; 10_000]).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (io::ErrorKind::TimedOut, PATIENCE.stall));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_in_a_hurry_after_an_upgrade() {
    let (mut gate, turns, mut far) = gate(4096);
    let asks = head("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    far.write_all(asks.as_bytes()).await.unwrap();
    read(&mut gate, asks.len()).await;
    turns.take().unwrap().1.upgrade();
    let year = Duration::from_secs(365 * 24 * 3600);
    assert!(tokio::time::timeout(year, gate.read(&mut [0; 9])).await.is_err());
    assert!(tokio::time::timeout(year, gate.write_all(&[0; 10_000])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn closing_hears_out_a_visitor_that_is_still_sending() {
    let (mut gate, turns, mut far) = gate(4096);
    let request = "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 99999\r\n\r\n";
    far.write_all(request.as_bytes()).await.unwrap();
    read(&mut gate, request.len()).await;
    let _turn = turns.take().unwrap();
    let close = gate.shutdown();
    let send = async {
        far.write_all(&[0; 50_000]).await.unwrap();
        assert_eq!(far.read(&mut [0; 9]).await.unwrap(), 0, "the end is there all the while");
        Instant::now()
    };
    let (closed, sent) = tokio::join!(close, send);
    closed.unwrap();
    assert_eq!(sent.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_at_rest_is_closed_at_once() {
    let (mut gate, _turns, _far) = gate(4096);
    let start = Instant::now();
    gate.shutdown().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}
