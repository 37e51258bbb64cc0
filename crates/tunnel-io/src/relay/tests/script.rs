//! Streams that do exactly what a script says, polled by hand: failures, flushes and fairness.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use tokio::io::ReadBuf;

use super::*;

/// What the next read gives. After the script: pending, for ever and without a wake-up.
enum Read {
    Bytes(&'static [u8]),
    /// As many bytes as are asked for, every time.
    Endless,
    Eof,
    Fail(io::ErrorKind),
}

/// What the next write does. After the script: takes everything.
enum Write {
    Take(usize),
    Pending,
    Fail(io::ErrorKind),
}

#[derive(Default)]
struct Script {
    reads: VecDeque<Read>,
    writes: VecDeque<Write>,
    pending_until_written: bool,
    fail_flush: bool,
    fail_shutdown: bool,
    calls: usize,
    written: Vec<u8>,
    flushes: usize,
    shut_down: bool,
}

impl Script {
    fn reads(reads: impl IntoIterator<Item = Read>) -> Self {
        Self { reads: reads.into_iter().collect(), ..Self::default() }
    }

    fn writes(writes: impl IntoIterator<Item = Write>) -> Self {
        Self { writes: writes.into_iter().collect(), ..Self::default() }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.calls += 1;
        if self.pending_until_written {
            return Poll::Pending;
        }
        match self.reads.pop_front() {
            None => return Poll::Pending,
            Some(Read::Bytes(bytes)) => buf.put_slice(bytes),
            Some(Read::Endless) => {
                buf.initialize_unfilled().fill(b'.');
                buf.set_filled(buf.capacity());
                self.reads.push_front(Read::Endless);
            }
            Some(Read::Eof) => {}
            Some(Read::Fail(kind)) => return Poll::Ready(Err(kind.into())),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.calls += 1;
        assert!(!self.shut_down && !bytes.is_empty());
        self.pending_until_written = false;
        let taken = match self.writes.pop_front() {
            None => bytes.len(),
            Some(Write::Take(most)) => most,
            Some(Write::Pending) => return Poll::Pending,
            Some(Write::Fail(kind)) => return Poll::Ready(Err(kind.into())),
        };
        self.written.extend_from_slice(&bytes[..taken.min(bytes.len())]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fail_flush {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        self.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fail_shutdown {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        assert!(!self.shut_down, "shut down twice");
        self.shut_down = true;
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls a relay of `a` and `b` until nobody wakes it any more: its end, if it came to one.
fn run(a: &mut Script, b: &mut Script) -> Option<Relayed> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut relaying = relay(a, b, RelayOptions::default());
    loop {
        let before = woken.0.load(Ordering::Relaxed);
        match Pin::new(&mut relaying).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(relayed) => return Some(relayed),
            Poll::Pending if woken.0.load(Ordering::Relaxed) == before => return None,
            Poll::Pending => {}
        }
    }
}

fn failure(a: &mut Script, b: &mut Script) -> (Side, Operation, io::ErrorKind) {
    let error = run(a, b).expect("the relay ends").end.expect_err("the relay fails");
    (error.side, error.operation, error.source.kind())
}

#[test]
fn a_failed_read_names_its_side_and_closes_nothing() {
    let kind = io::ErrorKind::ConnectionReset;
    let (mut a, mut b) = (Script::reads([Read::Bytes(b"half a"), Read::Fail(kind)]), Script::default());
    assert_eq!(failure(&mut a, &mut b), (Side::A, Operation::Read, kind));
    assert_eq!(b.written, b"half a");
    assert!(!a.shut_down && !b.shut_down, "a cut transfer must not look like a clean end");

    let (mut a, mut b) = (Script::default(), Script::reads([Read::Fail(kind)]));
    assert_eq!(failure(&mut a, &mut b), (Side::B, Operation::Read, kind));
    assert!(!a.shut_down && !b.shut_down);
}

#[test]
fn a_failure_after_a_half_close_is_still_a_failure() {
    let kind = io::ErrorKind::UnexpectedEof;
    let (mut a, mut b) = (Script::reads([Read::Eof]), Script::reads([Read::Bytes(b"x"), Read::Fail(kind)]));
    assert_eq!(failure(&mut a, &mut b), (Side::B, Operation::Read, kind));
    assert!(b.shut_down && !a.shut_down);
}

#[test]
fn a_failed_write_flush_or_shutdown_names_the_written_side() {
    let kind = io::ErrorKind::BrokenPipe;
    let broken = |script: Script| Script { reads: [Read::Eof].into(), ..script };
    let mut b = broken(Script::writes([Write::Take(2), Write::Fail(kind)]));
    assert_eq!(failure(&mut Script::reads([Read::Bytes(b"abc")]), &mut b), (Side::B, Operation::Write, kind));
    assert_eq!(b.written, b"ab");

    let mut a = Script { fail_flush: true, pending_until_written: true, ..broken(Script::default()) };
    let mut b = Script::reads([Read::Bytes(b"abc")]);
    assert_eq!(failure(&mut a, &mut b), (Side::A, Operation::Write, io::ErrorKind::ConnectionAborted));

    let mut b = Script { fail_shutdown: true, ..Script::reads([Read::Fail(kind)]) };
    let expected = (Side::B, Operation::Write, io::ErrorKind::NotConnected);
    assert_eq!(failure(&mut Script::reads([Read::Eof]), &mut b), expected);
}

#[test]
fn a_writer_that_misbehaves_fails_instead_of_looping_or_panicking() {
    for (taken, kind) in [(0, io::ErrorKind::WriteZero), (4, io::ErrorKind::Other)] {
        let mut a = Script::reads([Read::Bytes(b"abc")]);
        let mut b = Script { reads: [Read::Eof].into(), ..Script::writes([Write::Take(taken)]) };
        assert_eq!(failure(&mut a, &mut b), (Side::B, Operation::Write, kind));
    }
}

/// On Linux a reset is reported once: to the write that fails, after which reads report EOF.
#[test]
fn an_eof_beside_a_failed_write_is_not_passed_on() {
    let kind = io::ErrorKind::ConnectionReset;
    for a_fails in [true, false] {
        let mut failing = Script::writes([Write::Fail(kind)]);
        failing.reads.push_back(Read::Eof);
        let mut other = Script::reads([Read::Bytes(b"a large upload")]);
        if a_fails {
            // Side A is read first, and finds nothing until its write has failed.
            failing.pending_until_written = true;
            assert_eq!(failure(&mut failing, &mut other), (Side::A, Operation::Write, kind));
        } else {
            assert_eq!(failure(&mut other, &mut failing), (Side::B, Operation::Write, kind));
        }
        assert!(!other.shut_down);
    }
}

/// A web server refuses an upload and closes with some of it unread: its answer is here, and so is its reset.
#[test]
fn what_a_side_said_before_a_write_to_it_failed_is_passed_on() {
    let kind = io::ErrorKind::ConnectionReset;
    let ends: [fn() -> Read; 2] = [|| Read::Eof, || Read::Fail(io::ErrorKind::ConnectionReset)];
    for (end, a_fails) in ends.into_iter().flat_map(|end| [(end, true), (end, false)]) {
        let answer = [Read::Bytes(b"413 "), Read::Bytes(b"too large"), end()];
        let mut failing = Script { writes: [Write::Fail(kind)].into(), ..Script::reads(answer) };
        // Takes the answer in its own time.
        let mut other = Script::writes([Write::Take(1), Write::Pending, Write::Pending]);
        other.reads.push_back(Read::Bytes(b"a large upload"));
        failing.pending_until_written = true;
        let (a, b) = if a_fails { (&mut failing, &mut other) } else { (&mut other, &mut failing) };
        let mut relaying = relay(a, b, RelayOptions::default());
        let relayed = loop {
            match Pin::new(&mut relaying).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(relayed) => break relayed,
                Poll::Pending => {}
            }
        };
        let error = relayed.end.unwrap_err();
        let side = if a_fails { Side::A } else { Side::B };
        assert_eq!((error.side, error.operation, error.source.kind()), (side, Operation::Write, kind));
        assert_eq!(String::from_utf8_lossy(&other.written), "413 too large");
        assert!(!other.shut_down && other.flushes > 0);
    }
}

#[test]
fn while_last_words_are_awaited_nothing_more_is_kept_and_an_end_of_the_other_side_is_noticed() {
    let kind = io::ErrorKind::BrokenPipe;
    let mut failing = Script::writes([Write::Fail(kind)]);
    let mut other = Script::reads([Read::Bytes(b"an upload"), Read::Bytes(b" that goes on"), Read::Eof]);
    let mut relaying = relay(&mut other, &mut failing, RelayOptions::default());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut relaying).poll(&mut cx).is_pending(), "it may yet say why");
    assert!(relaying.a.reads.is_empty() && relaying.a_to_b.holds_nothing() && relaying.a_to_b.moved() == 0);
    assert!(!relaying.b.shut_down);
    relaying.b.reads.push_back(Read::Bytes(b"no"));
    assert!(Pin::new(&mut relaying).poll(&mut cx).is_pending());
    assert_eq!(relaying.a.written, b"no");

    let mut failing = Script::writes([Write::Fail(kind)]);
    let mut gone = Script::reads([Read::Bytes(b"an upload"), Read::Fail(io::ErrorKind::ConnectionReset)]);
    assert_eq!(failure(&mut gone, &mut failing), (Side::B, Operation::Write, kind), "the first to fail");
}

#[test]
fn interrupted_calls_are_repeated() {
    let again = io::ErrorKind::Interrupted;
    let mut a = Script::reads([Read::Fail(again), Read::Bytes(b"abc"), Read::Fail(again), Read::Eof]);
    let mut b = Script::writes([Write::Fail(again), Write::Take(1), Write::Fail(again)]);
    b.reads.push_back(Read::Eof);
    run(&mut a, &mut b).unwrap().end.unwrap();
    assert_eq!(b.written, b"abc");
}

#[test]
fn flushes_once_when_the_reader_falls_silent_and_not_before() {
    let (mut a, mut b) = (Script::reads([Read::Bytes(b"one"), Read::Bytes(b"two")]), Script::default());
    let mut relaying = relay(&mut a, &mut b, RelayOptions::default());
    // Polled again with nothing new, there is nothing to flush.
    for _ in 0..3 {
        assert!(Pin::new(&mut relaying).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!((b.written.as_slice(), b.flushes, a.flushes), (&b"onetwo"[..], 1, 0));
}

#[test]
fn one_poll_is_bounded_and_asks_for_another() {
    let (mut a, mut b) = (Script::reads([Read::Endless]), Script::reads([Read::Endless]));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut relaying = relay(&mut a, &mut b, RelayOptions::default());
    assert!(Pin::new(&mut relaying).poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(woken.0.load(Ordering::Relaxed) > 0, "an exhausted budget wakes the task");
    assert_eq!(relaying.a_to_b.moved() + relaying.b_to_a.moved(), 1 << 20);
    drop(relaying);
    assert!(a.calls + b.calls <= 32 && a.written.len() == b.written.len());

    // A writer that takes a byte at a time is bounded by calls, and loses nothing.
    let mut a = Script::reads([Read::Bytes(b"a chunk of more bytes than one poll has calls"), Read::Eof]);
    let mut b = Script::writes((0..40).map(|_| Write::Take(1)));
    b.reads.push_back(Read::Eof);
    run(&mut a, &mut b).unwrap().end.unwrap();
    assert_eq!(b.written, b"a chunk of more bytes than one poll has calls");
}

#[test]
fn a_refusing_writer_stops_reading_until_it_has_taken_everything() {
    let mut a = Script::reads([Read::Bytes(b"first"), Read::Bytes(b"second")]);
    let mut b = Script::writes([Write::Take(1), Write::Pending, Write::Take(2), Write::Pending]);
    let mut relaying = relay(&mut a, &mut b, RelayOptions::default());
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..2 {
        assert!(Pin::new(&mut relaying).poll(&mut cx).is_pending());
        assert_eq!((relaying.a.reads.len(), relaying.a_to_b.held()), (1, 4));
    }
    assert!(Pin::new(&mut relaying).poll(&mut cx).is_pending());
    assert_eq!((relaying.a_to_b.held(), relaying.a_to_b.moved()), (0, 11));
    assert_eq!(b.written, b"firstsecond");
}
