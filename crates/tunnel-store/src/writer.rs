//! The one thread that writes: what is to be written comes in a queue, and the rest is done in passing.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tracing::warn;

use crate::{
    audit::{self, Journal},
    error::{OpenError, WriteError},
    looker::Memory,
    usage,
};

/// How often the file is looked at for what another process wrote.
const LOOK: Duration = Duration::from_millis(250);
/// How often usage and audit are written, which many small things make.
const FLUSH: Duration = Duration::from_secs(2);
/// How often audit entries that are old or too many are thrown away.
const PRUNE: Duration = Duration::from_secs(300);
/// Writes that may wait.
const QUEUE: usize = 256;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The thread and the way to it. Dropping it writes what is left, and waits for that.
#[derive(Debug)]
pub(crate) struct Writer {
    /// `None` only while it is dropped.
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(
        connection: Connection,
        memory: Arc<Memory>,
        journal: Arc<Journal>,
    ) -> Result<Self, OpenError> {
        let (jobs, queue) = sync_channel(QUEUE);
        let desk = Desk { connection, memory, journal };
        let thread = thread::Builder::new().name("store".into()).spawn(move || desk.run(&queue));
        Ok(Self { jobs: Some(jobs), thread: Some(thread.map_err(OpenError::Thread)?) })
    }

    /// Queues something. Never waits.
    pub(crate) fn send(&self, job: Job) -> Result<(), WriteError> {
        let Some(jobs) = &self.jobs else { return Err(WriteError::Closed) };
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => WriteError::Busy,
            TrySendError::Disconnected(_) => WriteError::Closed,
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// All or nothing, and on the disk when this returns.
pub(crate) fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, WriteError>,
) -> Result<T, WriteError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

/// What the thread has.
struct Desk {
    connection: Connection,
    memory: Arc<Memory>,
    journal: Arc<Journal>,
}

impl Desk {
    fn run(mut self, queue: &Receiver<Job>) {
        let mut flushed = Instant::now();
        let mut pruned: Option<Instant> = None;
        let mut looked = Instant::now();
        let mut clock = SystemTime::now();
        loop {
            match queue.recv_timeout(LOOK.saturating_sub(looked.elapsed())) {
                Ok(job) => job(&mut self.connection),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
            if looked.elapsed() < LOOK {
                continue;
            }
            if flushed.elapsed() >= FLUSH {
                self.flush();
                flushed = Instant::now();
            }
            if pruned.is_none_or(|pruned| pruned.elapsed() >= PRUNE) {
                self.prune();
                pruned = Some(Instant::now());
            }
            self.memory.look();
            let now = SystemTime::now();
            if self.memory.view().has_passed(clock, now) {
                self.memory.nudge();
            }
            (looked, clock) = (Instant::now(), now);
        }
    }

    fn flush(&mut self) {
        flush(&mut self.connection, &self.memory, &self.journal);
    }

    fn prune(&mut self) {
        let pruned = in_transaction(&mut self.connection, |transaction| Ok(audit::prune(transaction)?));
        if let Err(error) = pruned {
            warn!(error = &error as &dyn std::error::Error, "old audit entries can't be removed");
        }
    }
}

/// Writes what was used and what happened. If that fails it is kept, and tried again.
pub(crate) fn flush(connection: &mut Connection, memory: &Memory, journal: &Journal) {
    let used = memory.ledger.take();
    let entries = journal.take();
    if used.is_empty() && entries.is_empty() {
        return;
    }
    let written = in_transaction(connection, |transaction| {
        usage::add(transaction, &used)?;
        Ok(entries.iter().try_for_each(|entry| audit::append(transaction, entry))?)
    });
    match written {
        Ok(()) => {
            memory.look();
            memory.ledger.written();
        }
        Err(error) => {
            memory.ledger.give_back();
            journal.give_back(entries);
            warn!(error = &error as &dyn std::error::Error, "usage and audit can't be written; trying again");
        }
    }
}
