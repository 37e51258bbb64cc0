//! What one side of a flow has to say: datagrams, as long as they are fresh, and receipts.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::{DATAGRAM_MAX, FlowError, Frame, PREFIX, put_datagram, window::Window};

/// The most bytes that wait for one flow's stream.
pub const QUEUE_BYTES: usize = 512 * 1024;
/// The most datagrams that wait for one flow's stream.
pub const QUEUE_DATAGRAMS: usize = 1024;
/// How long a datagram waits for its stream; an older one is dropped.
pub const QUEUE_AGE: Duration = Duration::from_millis(50);
/// Datagrams are written together up to this many bytes; a longer one goes alone.
pub const BATCH_MAX: usize = 16 * 1024;

/// A receipt is due after this many bytes. It must be well below the smallest window.
const RECEIPT_EVERY: u64 = 2 * 1024;

/// Datagrams that wait for a flow's stream, and the account of what is under way on it.
///
/// Pushing never waits: when there is no room, the oldest datagram goes, as the one that is worth least.
#[derive(Debug)]
pub struct Outbox {
    queue: VecDeque<Waiting>,
    bytes: usize,
    window: Window,
    /// Bytes of the peer's datagram frames taken, and how many of them it was told of.
    taken: u64,
    told: u64,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    payload: Box<[u8]>,
}

/// What is to be written to the stream at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Whole frames.
    pub bytes: Vec<u8>,
    /// How many datagrams were dropped on the way to these, because they had waited too long.
    pub dropped: u64,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { queue: VecDeque::new(), bytes: 0, window: Window::new(), taken: 0, told: 0, waker: None }
    }
}

impl Outbox {
    /// Takes a datagram; how many were dropped: older ones for this one's sake, or this one if it is too long.
    pub fn push(&mut self, payload: &[u8], now: Instant) -> u64 {
        if payload.len() > DATAGRAM_MAX {
            return 1;
        }
        let mut dropped = 0;
        while self.queue.front().is_some_and(|oldest| {
            is_stale(oldest, now)
                || self.queue.len() >= QUEUE_DATAGRAMS
                || self.bytes + payload.len() > QUEUE_BYTES
        }) {
            self.pop();
            dropped += 1;
        }
        self.bytes += payload.len();
        self.queue.push_back(Waiting { since: now, payload: payload.into() });
        self.wake();
        dropped
    }

    /// Bytes of the datagrams that wait.
    pub fn queued(&self) -> usize {
        self.bytes
    }

    /// Counts a frame that came from the peer, as soon as it needs no memory any more. A receipt opens the window.
    ///
    /// # Errors
    /// [`FlowError::Receipt`] for one that can't be true: the stream is to be reset.
    pub fn took(&mut self, frame: &Frame, now: Instant) -> Result<(), FlowError> {
        match frame {
            Frame::Datagram(_) => {
                self.taken += frame.len_on_stream() as u64;
                if self.is_receipt_due() {
                    self.wake();
                }
            }
            Frame::Receipt(total) => {
                self.window.receipt(*total, now)?;
                self.wake();
            }
        }
        Ok(())
    }

    /// What is to be written next; pending until there is something. One task may wait at a time.
    pub fn poll_batch(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Batch> {
        let mut batch = Batch::default();
        if self.is_receipt_due() {
            Frame::Receipt(self.taken).encode(&mut batch.bytes);
            self.told = self.taken;
        }
        let mut sent = 0;
        while let Some(oldest) = self.queue.front() {
            let length = PREFIX + oldest.payload.len();
            if is_stale(oldest, now) {
                batch.dropped += 1;
            } else if (batch.bytes.is_empty() || batch.bytes.len() + length <= BATCH_MAX)
                && self.window.is_open()
            {
                put_datagram(&oldest.payload, &mut batch.bytes);
                self.window.sent(length as u64, now);
                sent += 1;
            } else {
                break;
            }
            self.pop();
        }
        if self.queue.is_empty() && sent > 0 {
            // An idle flow keeps no memory.
            self.queue = VecDeque::new();
        }
        if batch == Batch::default() {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(batch)
    }

    fn is_receipt_due(&self) -> bool {
        self.taken - self.told >= RECEIPT_EVERY
    }

    fn pop(&mut self) {
        if let Some(oldest) = self.queue.pop_front() {
            self.bytes -= oldest.payload.len();
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

fn is_stale(waiting: &Waiting, now: Instant) -> bool {
    now.saturating_duration_since(waiting.since) > QUEUE_AGE
}
