//! Standard error, which a thread of its own writes.
//!
//! Whoever reads it may stop: a pager, a terminal on hold, a log driver that hangs. A write to a full pipe waits for as
//! long as that lasts, and holds the lock that every other line needs. So nothing that carries visitors writes itself:
//! lines wait in a queue, and those for which there is no room are counted and left out.

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

use tracing::warn;

/// Lines that wait at most.
const WAITING: usize = 1024;
/// How long a remark waits to be written, so that it is in its place between lines of standard output; and the process
/// at its end, for all that waits. Much longer than that takes where somebody reads.
const PATIENCE: Duration = Duration::from_millis(500);
/// It needs little more than room to put a line together.
const STACK: usize = 256 << 10;

static STANDARD_ERROR: OnceLock<StandardError> = OnceLock::new();

/// Takes lines of the log, one with each write, and never waits.
#[derive(Clone, Debug)]
pub struct StandardError {
    queue: SyncSender<Vec<u8>>,
    shared: Arc<Shared>,
}

/// Sees to it that at the end what waits is written, if anybody reads it.
#[derive(Debug)]
pub struct StandardErrorGuard(StandardError);

#[derive(Debug, Default)]
struct Shared {
    /// Lines that were put and aren't written.
    waiting: Mutex<usize>,
    all_written: Condvar,
    /// Left out since that was last said.
    lost: AtomicU64,
    /// Somebody waited in vain since something was last written.
    is_stuck: AtomicBool,
}

impl StandardError {
    /// Starts the thread. From here on all remarks go through it, too.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start() -> io::Result<(Self, StandardErrorGuard)> {
        let this = Self::start_on(io::stderr())?;
        let this = STANDARD_ERROR.get_or_init(|| this).clone();
        Ok((this.clone(), StandardErrorGuard(this)))
    }

    fn start_on(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, queued) = sync_channel(WAITING);
        let shared = Arc::new(Shared::default());
        let this = Self { queue, shared: shared.clone() };
        let writer = thread::Builder::new().name("stderr".into()).stack_size(STACK);
        writer.spawn(move || write_all(out, &queued, &shared))?;
        Ok(this)
    }

    fn put(&self, line: Vec<u8>) {
        self.shared.change_waiting(|waiting| waiting + 1);
        if self.queue.try_send(line).is_err() {
            self.shared.change_waiting(|waiting| waiting - 1);
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all is written that was put before, unless nobody reads.
    fn flush(&self) {
        if self.shared.is_stuck.load(Ordering::Relaxed) {
            return;
        }
        let waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.all_written.wait_timeout_while(waiting, PATIENCE, |waiting| *waiting > 0);
        let is_stuck = waited.is_ok_and(|(_, waited)| waited.timed_out());
        self.shared.is_stuck.store(is_stuck, Ordering::Relaxed);
    }
}

impl Shared {
    fn change_waiting(&self, change: impl FnOnce(usize) -> usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = change(*waiting);
        if *waiting == 0 {
            self.all_written.notify_all();
        }
    }
}

/// Each write is one line.
impl Write for StandardError {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for StandardErrorGuard {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// Writes a line for people, and waits a moment until it is there.
pub fn remark(text: &str) {
    match STANDARD_ERROR.get() {
        Some(thread) => {
            thread.put(format!("{text}\n").into_bytes());
            thread.flush();
        }
        // Before the log is started, which may fail.
        None => {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }
}

fn write_all(mut out: impl Write, queued: &Receiver<Vec<u8>>, shared: &Shared) {
    loop {
        let line = match queued.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                let lost = shared.lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    // It comes back here as a line.
                    warn!(lines = lost, "lines are lost here: they came faster than they were read");
                }
                let Ok(line) = queued.recv() else { return };
                line
            }
        };
        // Nobody may be reading.
        let _ = out.write_all(&line).and_then(|()| out.flush());
        shared.is_stuck.store(false, Ordering::Relaxed);
        shared.change_waiting(|waiting| waiting - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a line each time it may.
    struct Slow {
        may: Receiver<()>,
        written: SyncSender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.may.recv();
            let _ = self.written.send(line.to_vec());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_never_waits_and_what_finds_no_room_is_counted() {
        let (go, may) = sync_channel(0);
        let (written, lines_written) = sync_channel(2 * WAITING);
        let lines = StandardError::start_on(Slow { may, written }).unwrap();
        for number in 0..2 * WAITING {
            lines.put(number.to_string().into_bytes());
        }
        // The thread may have taken one of them already.
        let lost = usize::try_from(lines.shared.lost.load(Ordering::Relaxed)).unwrap();
        assert!([WAITING - 1, WAITING].contains(&lost), "{lost}");
        lines.flush();
        assert!(lines.shared.is_stuck.load(Ordering::Relaxed), "it was waited for, and no longer");
        drop(go);
        for number in 0..WAITING {
            assert_eq!(lines_written.recv().unwrap(), number.to_string().into_bytes());
        }
        drop(StandardErrorGuard(lines));
    }
}
