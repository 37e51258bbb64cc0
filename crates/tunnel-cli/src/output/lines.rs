//! Lines that a thread of its own writes.
//!
//! Whoever reads an output may stop: a pager, a terminal on hold, a log driver that hangs. A write to a full pipe waits
//! for as long as that lasts, and holds the lock that every other line needs. So who has other work doesn't write
//! itself: lines wait in a queue, and those for which there is no room are counted and left out.

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Lines that wait at most.
const WAITING: usize = 1024;
/// How long nothing is written until whoever waits takes it that nobody reads.
const STILL: Duration = Duration::from_millis(500);
/// How long whoever waits does so in all, before a reader that is slow.
const PATIENCE: Duration = Duration::from_secs(5);
/// It needs little more than room to put a line together.
const STACK: usize = 256 << 10;

/// An output, by lines. Nobody who puts one waits for it.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    queue: SyncSender<Vec<u8>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    counts: Mutex<Counts>,
    written: Condvar,
}

#[derive(Debug, Default)]
struct Counts {
    put: u64,
    written: u64,
    /// Left out since that was last said.
    lost: u64,
    /// Somebody waited in vain since something was last written.
    is_stuck: bool,
}

impl Lines {
    /// Starts the thread. `of_lost` is the line that says how many were left out.
    pub(super) fn start(
        name: &str,
        out: impl Write + Send + 'static,
        of_lost: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, queued) = sync_channel(WAITING);
        let shared = Arc::new(Shared::default());
        let this = Self { queue, shared: shared.clone() };
        let writer = thread::Builder::new().name(name.into()).stack_size(STACK);
        writer.spawn(move || write_all(out, &queued, &shared, of_lost))?;
        Ok(this)
    }

    /// Queues a line, or gives it back if there is no room.
    pub(super) fn put(&self, line: Vec<u8>) -> Result<(), Vec<u8>> {
        self.put_counted(line, &mut self.shared.lock())
    }

    /// Queues a line, or counts it if there is no room.
    pub(super) fn put_or_lose(&self, line: Vec<u8>) {
        // In one step: what is lost is told with the next line, and there is one as long as there is no room.
        let mut counts = self.shared.lock();
        if self.put_counted(line, &mut counts).is_err() {
            counts.lost += 1;
        }
    }

    /// Under the lock, so that lines are counted in their order.
    fn put_counted(&self, line: Vec<u8>, counts: &mut Counts) -> Result<(), Vec<u8>> {
        self.queue.try_send(line).map_err(|full| match full {
            TrySendError::Full(line) | TrySendError::Disconnected(line) => line,
        })?;
        counts.put += 1;
        Ok(())
    }

    /// Waits until what was put before is written, unless nobody reads. How many lines aren't written then, or were
    /// left out and not told of.
    pub(super) fn flush(&self) -> u64 {
        let end = Instant::now() + PATIENCE;
        let mut counts = self.shared.lock();
        let target = counts.put;
        while counts.written < target && !counts.is_stuck {
            let before = counts.written;
            let patience = STILL.min(end.saturating_duration_since(Instant::now()));
            let waited =
                self.shared.written.wait_timeout_while(counts, patience, |now| now.written == before);
            counts = waited.unwrap_or_else(PoisonError::into_inner).0;
            counts.is_stuck |= counts.written == before;
        }
        target.saturating_sub(counts.written) + counts.lost
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_all(
    mut out: impl Write,
    queued: &Receiver<Vec<u8>>,
    shared: &Shared,
    of_lost: impl Fn(u64) -> String,
) {
    while let Ok(line) = queued.recv() {
        let lost = std::mem::take(&mut shared.lock().lost);
        // Nobody may be reading.
        if lost > 0 {
            let _ = out.write_all(of_lost(lost).as_bytes());
        }
        let _ = out.write_all(&line).and_then(|()| out.flush());
        let mut counts = shared.lock();
        counts.written += 1;
        counts.is_stuck = false;
        shared.written.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes something each time it may.
    struct Slow {
        begins: SyncSender<()>,
        may: Receiver<()>,
        written: SyncSender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.begins.try_send(());
            let _ = self.may.recv();
            let _ = self.written.send(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_puts_a_line_never_waits_and_what_finds_no_room_is_counted() {
        let (go, may) = sync_channel(0);
        let (written, texts) = sync_channel(2 * WAITING);
        let (begins, begun) = sync_channel(1);
        let of_lost = |lost| format!("{lost} are lost");
        let lines = Lines::start("test", Slow { begins, may, written }, of_lost).unwrap();
        lines.put_or_lose(b"0".into());
        // Or it would begin by telling what is lost by then.
        begun.recv().unwrap();
        for number in 1..=2 * WAITING {
            lines.put_or_lose(number.to_string().into());
        }
        let lost = lines.shared.lock().lost;
        assert_eq!(lost, u64::try_from(WAITING).unwrap());
        assert_eq!(lines.flush(), 1 + 2 * WAITING as u64, "all that is not written is counted");
        assert!(lines.shared.lock().is_stuck, "it was waited for, and no longer");

        drop(go);
        let mut next = 0;
        while next <= WAITING {
            let text = texts.recv().unwrap();
            if text != next.to_string() {
                assert_eq!(text, of_lost(lost));
                continue;
            }
            next += 1;
        }
        lines.put(b"last".to_vec()).unwrap();
        assert_eq!(lines.flush(), 0);
        assert!(texts.try_iter().any(|text| text == "last"), "a reader that reads gets all");
    }
}
