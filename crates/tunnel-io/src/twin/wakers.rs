//! Whoever reads and whoever writes a twinned stream, as one waker: they may be two tasks, and what comes on either of
//! the two streams may be news to both.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Wake, Waker},
};

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    reader: Waiting,
    writer: Waiting,
}

/// One who waits, until woken.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Option<Waker>>);

impl Wakers {
    pub(super) fn reader(&self) -> &Waiting {
        &self.reader
    }

    pub(super) fn writer(&self) -> &Waiting {
        &self.writer
    }
}

impl Waiting {
    pub(super) fn set(&self, cx: &Context<'_>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waiting {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    pub(super) fn wake(&self) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.reader.wake();
        self.writer.wake();
    }
}
