//! Random streams from seeds: whatever they do, the same bytes arrive in the same order.
//!
//! A chaotic stream is pending at random, gives and takes pieces of random size, and passes bytes
//! on only when flushed or shut down. Its wake-ups come late and in random order, and the relay is
//! polled only when woken, so that a lost wake-up is a failure rather than a delay.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use tokio::io::ReadBuf;

use super::*;

/// Xorshift: as good as needed, and the same everywhere.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Wakers of pending calls, to be woken at some later time.
type Later = Arc<Mutex<Vec<Waker>>>;

struct Chaos {
    random: Random,
    later: Later,
    /// What this side has yet to say.
    words: Vec<u8>,
    said: usize,
    /// Written, but not yet flushed.
    buffered: Vec<u8>,
    heard: Vec<u8>,
    heard_the_end: bool,
}

impl Chaos {
    fn new(seed: u64, later: &Later) -> Self {
        let mut random = Random::new(seed);
        let length = [0, 1, 100, 3000, 200_000][random.below(5)];
        let words = (0..length).map(|_| random.below(256).to_le_bytes()[0]).collect();
        let later = Arc::clone(later);
        Self { random, later, words, said: 0, buffered: Vec::new(), heard: Vec::new(), heard_the_end: false }
    }

    fn pending(&mut self, cx: &Context<'_>) -> bool {
        let pending = self.random.below(3) == 0;
        if pending {
            self.later.lock().unwrap().push(cx.waker().clone());
        }
        pending
    }

    /// A length from 1 to `most`, often small and sometimes all.
    fn piece(&mut self, most: usize) -> usize {
        let bound = [1, 10, 1000, usize::MAX][self.random.below(4)].min(most);
        1 + self.random.below(bound)
    }
}

impl AsyncRead for Chaos {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pending(cx) {
            return Poll::Pending;
        }
        let most = buf.remaining().min(self.words.len() - self.said);
        if most > 0 {
            let length = self.piece(most);
            buf.put_slice(&self.words[self.said..][..length]);
            self.said += length;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Chaos {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        assert!(!self.heard_the_end && !bytes.is_empty());
        if self.pending(cx) {
            return Poll::Pending;
        }
        let length = self.piece(bytes.len());
        self.buffered.extend_from_slice(&bytes[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pending(cx) {
            return Poll::Pending;
        }
        let buffered = std::mem::take(&mut self.buffered);
        self.heard.extend_from_slice(&buffered);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pending(cx) {
            return Poll::Pending;
        }
        assert!(self.buffered.is_empty(), "flushed before the end");
        assert!(!self.heard_the_end, "told of the end twice");
        self.heard_the_end = true;
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls only when woken, and wakes in random order.
fn run(seed: u64, later: &Later, mut relaying: Relay<'_, Chaos, Chaos>) -> Relayed {
    let mut random = Random::new(seed);
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&flag));
    loop {
        if flag.0.swap(false, Ordering::Relaxed)
            && let Poll::Ready(relayed) = Pin::new(&mut relaying).poll(&mut Context::from_waker(&waker))
        {
            return relayed;
        }
        if !flag.0.load(Ordering::Relaxed) {
            let mut later = later.lock().unwrap();
            assert!(!later.is_empty(), "seed {seed}: nobody will ever wake the relay: {relaying:?}");
            let chosen = random.below(later.len());
            later.swap_remove(chosen).wake();
        }
    }
}

#[test]
fn the_same_bytes_arrive_in_the_same_order() {
    for seed in 0..400 {
        let later = Later::default();
        let mut a = Chaos::new(2 * seed, &later);
        let mut b = Chaos::new(2 * seed + 1, &later);
        let chunk = 1 + Random::new(seed).below(RelayOptions::MAX_CHUNK);
        let relayed =
            run(seed, &later, relay(&mut a, &mut b, RelayOptions { chunk, ..RelayOptions::default() }));
        relayed.end.unwrap();
        assert!(a.heard == b.words && b.heard == a.words, "seed {seed}");
        assert!(a.heard_the_end && b.heard_the_end, "seed {seed}");
        assert_eq!((relayed.a_to_b, relayed.b_to_a), (b.heard.len() as u64, a.heard.len() as u64));
    }
}
