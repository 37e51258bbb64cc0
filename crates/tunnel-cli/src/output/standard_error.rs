//! Standard error, which a thread of its own writes.
//!
//! Whoever reads it may stop: a pager, a terminal on hold, a log driver that hangs. A write to a full pipe waits for as
//! long as that lasts, and holds the lock that every other line needs. So no worker writes the log itself: lines wait in
//! a queue, and those for which there is no room are counted and left out.

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use humantime::format_rfc3339_micros;

/// Lines that wait at most.
const WAITING: usize = 1024;
/// How long nothing is written until whoever waits takes it that nobody reads.
const STILL: Duration = Duration::from_millis(500);
/// How long whoever waits does so in all, before a reader that is slow.
const PATIENCE: Duration = Duration::from_secs(5);
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
    lines: Mutex<Lines>,
    written: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    put: u64,
    written: u64,
    /// Left out since that was last said.
    lost: u64,
    /// Somebody waited in vain since something was last written.
    is_stuck: bool,
}

impl StandardError {
    /// Starts the thread. From here on all remarks go through it, too. What it says itself is JSON if the log is.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(json: bool) -> io::Result<(Self, StandardErrorGuard)> {
        let this = Self::start_on(io::stderr(), json)?;
        let this = STANDARD_ERROR.get_or_init(|| this).clone();
        Ok((this.clone(), StandardErrorGuard(this)))
    }

    fn start_on(out: impl Write + Send + 'static, json: bool) -> io::Result<Self> {
        let (queue, queued) = sync_channel(WAITING);
        let shared = Arc::new(Shared::default());
        let this = Self { queue, shared: shared.clone() };
        let writer = thread::Builder::new().name("stderr".into()).stack_size(STACK);
        writer.spawn(move || write_all(out, &queued, &shared, json))?;
        Ok(this)
    }

    /// Queues a line, or gives it back if there is no room.
    fn put(&self, line: Vec<u8>) -> Result<(), Vec<u8>> {
        // Under the lock, so that lines are counted in their order.
        let mut lines = self.shared.lock();
        self.queue.try_send(line).map_err(|full| match full {
            TrySendError::Full(line) | TrySendError::Disconnected(line) => line,
        })?;
        lines.put += 1;
        Ok(())
    }

    /// Waits until what was put before is written, unless nobody reads.
    fn flush(&self) {
        let end = Instant::now() + PATIENCE;
        let mut lines = self.shared.lock();
        let target = lines.put;
        while lines.written < target && !lines.is_stuck {
            let before = lines.written;
            let patience = STILL.min(end.saturating_duration_since(Instant::now()));
            let waited = self.shared.written.wait_timeout_while(lines, patience, |now| now.written == before);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
            lines.is_stuck |= lines.written == before;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each write is one line.
impl Write for StandardError {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.put(line.to_vec()).is_err() {
            self.shared.lock().lost += 1;
        }
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

/// Writes a line for people, and waits until it is there: for half a second if nobody reads, for some if somebody is slow.
pub fn remark(text: &str) {
    let Some(thread) = STANDARD_ERROR.get() else {
        // Before the log is started, which may fail.
        let _ = writeln!(io::stderr().lock(), "{text}");
        return;
    };
    if let Err(line) = thread.put(format!("{text}\n").into_bytes()) {
        thread.flush();
        let _ = thread.put(line);
    }
    thread.flush();
}

fn write_all(mut out: impl Write, queued: &Receiver<Vec<u8>>, shared: &Shared, json: bool) {
    while let Ok(line) = queued.recv() {
        let lost = std::mem::take(&mut shared.lock().lost);
        // Nobody may be reading.
        if lost > 0 {
            let _ = out.write_all(of_lost(lost, json).as_bytes());
        }
        let _ = out.write_all(&line).and_then(|()| out.flush());
        let mut lines = shared.lock();
        lines.written += 1;
        lines.is_stuck = false;
        shared.written.notify_all();
    }
}

fn of_lost(lines: u64, json: bool) -> String {
    const WORDS: &str = "lines of the log are lost: they came faster than they were read";
    let now = format_rfc3339_micros(SystemTime::now());
    if json {
        format!("{{\"timestamp\":\"{now}\",\"level\":\"WARN\",\"message\":\"{WORDS}\",\"lines\":{lines}}}\n")
    } else {
        format!("{now}  WARN {WORDS} lines={lines}\n")
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
    fn who_logs_never_waits_and_what_finds_no_room_is_counted() {
        let (go, may) = sync_channel(0);
        let (written, texts) = sync_channel(2 * WAITING);
        let (begins, begun) = sync_channel(1);
        let mut lines = StandardError::start_on(Slow { begins, may, written }, true).unwrap();
        write!(lines, "0").unwrap();
        // Or it would begin by telling what is lost by then.
        begun.recv().unwrap();
        for number in 1..=2 * WAITING {
            write!(lines, "{number}").unwrap();
        }
        let lost = lines.shared.lock().lost;
        assert_eq!(lost, u64::try_from(WAITING).unwrap());
        lines.flush();
        assert!(lines.shared.lock().is_stuck, "it was waited for, and no longer");

        drop(go);
        let mut next = 0;
        while next <= WAITING {
            let text = texts.recv().unwrap();
            if text != next.to_string() {
                let told: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!((&told["level"], &told["lines"]), (&"WARN".into(), &lost.into()));
                continue;
            }
            next += 1;
        }
        lines.put(b"last".to_vec()).unwrap();
        drop(StandardErrorGuard(lines));
        assert!(texts.try_iter().any(|text| text == "last"), "a reader that reads gets all");
    }
}
