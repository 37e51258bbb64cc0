//! When the driver takes its turn: at once, or after all the tasks that are ready to run.
//!
//! A scheduler tends to run a task that was just woken next, as what it works on is still in the cache. For the driver
//! that means one small write to the socket, and under TLS one record, for each stream that has something to say.
//! Coming last, it writes what all of them said in one piece: with fifty small exchanges at a time, the lane's two ends
//! spend a fifth less. But one stream that moves much, or little, is only held up by that. So the driver waits as long
//! as that has lately been worth it, and now and then to see whether it would be.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;
use tokio::task::yield_now;

/// Every so many turns one is waited for whether it is worth it or not.
const TRIAL: u32 = 32;

/// Frames at most so large, on average and with what was read beside them, are worth gathering, in bytes.
const SMALL: usize = 4 << 10;

/// How much a turn that gathered something counts for, beside one that didn't, and how much is remembered.
const GAIN: u32 = 2;
const MOST: u32 = 8;

/// The driver's turns.
#[derive(Debug)]
pub(super) struct Turn {
    call: Arc<Call>,
    /// Of `call`.
    waker: Waker,
    is_waiting: bool,
    /// Above 0 while waiting is worth it.
    worth: u32,
    until_trial: u32,
}

/// What was done in a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    /// Frames written.
    pub(super) frames: usize,
    /// Bytes moved over the socket, both ways.
    pub(super) bytes: usize,
}

/// What the runtime wakes once the others have run.
#[derive(Debug, Default)]
struct Call {
    has_come: AtomicBool,
    driver: AtomicWaker,
}

impl Turn {
    pub(super) fn new() -> Self {
        let call = Arc::new(Call::default());
        let waker = Waker::from(Arc::clone(&call));
        Self { call, waker, is_waiting: false, worth: 0, until_trial: TRIAL }
    }

    /// Ready when the driver may go to work. Whoever else wakes it while it waits changes nothing.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_waiting {
            if !self.shall_wait() {
                return Poll::Ready(());
            }
            self.is_waiting = true;
            self.call.driver.register(cx.waker());
            // It lets the runtime wake the waker it is given when the others have run, and is needed no longer. Outside
            // of a runtime it wakes at once.
            let _ = pin!(yield_now()).poll(&mut Context::from_waker(&self.waker));
            return Poll::Pending;
        }
        self.call.driver.register(cx.waker());
        if !self.call.has_come.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        self.is_waiting = false;
        Poll::Ready(())
    }

    /// Learns from what the turn was good for.
    pub(super) fn end(&mut self, work: Work) {
        let Work { frames, bytes } = work;
        match frames {
            // It only read.
            0 => {}
            1 => self.worth = self.worth.saturating_sub(1),
            _ if bytes / frames > SMALL => self.worth = 0,
            _ => self.worth = MOST.min(self.worth + GAIN),
        }
    }

    fn shall_wait(&mut self) -> bool {
        if self.worth > 0 {
            return true;
        }
        self.until_trial -= 1;
        if self.until_trial == 0 {
            self.until_trial = TRIAL;
            return true;
        }
        false
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_come.store(true, Ordering::Release);
        self.driver.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these turns are waited for, if each does this.
    fn waits(turn: &mut Turn, turns: u32, work: Work) -> usize {
        let wait = |_: &u32| {
            let waits = turn.shall_wait();
            turn.end(work);
            waits
        };
        (0..turns).filter(wait).count()
    }

    #[test]
    fn waiting_goes_on_while_it_gathers_small_frames() {
        let mut turn = Turn::new();
        let (lone, many) = (Work { frames: 1, bytes: 100 }, Work { frames: 20, bytes: 20_000 });
        assert_eq!(waits(&mut turn, 10 * TRIAL, lone), 10, "only the trials");
        assert_eq!(waits(&mut turn, 100, many), 99, "from the second on");
        assert_eq!(waits(&mut turn, 5, Work { frames: 0, bytes: 5_000 }), 5, "reading tells nothing");
        assert_eq!(waits(&mut turn, TRIAL / 2, lone), MOST as usize, "a while longer");
    }

    #[test]
    fn bulk_is_not_waited_for() {
        let mut turn = Turn::new();
        assert_eq!(waits(&mut turn, 100, Work { frames: 20, bytes: 20_000 }), 99);
        let bulk = Work { frames: 2, bytes: 64 << 10 };
        assert_eq!(waits(&mut turn, TRIAL, bulk), 2, "the first, and one trial");
    }
}
