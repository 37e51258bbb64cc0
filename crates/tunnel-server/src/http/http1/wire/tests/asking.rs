//! Visitors that wait to be asked for a body, and bodies that are still read when their answer is over.

use super::*;

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
    assert!(!server.wire.may_go_on(false));
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
async fn a_body_that_is_still_read_when_its_answer_is_over_is_waited_for() {
    for (is_given_back, is_next) in [(true, true), (false, false)] {
        let (mut server, mut far) = connect(4096);
        far.write_all(head("/", "Content-Length: 3\r\n").as_bytes()).await.unwrap();
        let asked = server.next().await.unwrap().unwrap();
        let mut body = server.body(&asked);
        assert!(server.wire.may_go_on(false));
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
