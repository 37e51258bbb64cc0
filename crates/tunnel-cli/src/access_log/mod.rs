//! The access log of `tunnel server`: a line for each visitor's exchange that is over.
//!
//! ```text
//!   engine ──► records (a ring of 4,096) ──► one task: lines ──► file
//! ```
//! No visitor ever waits for it. A disk that is slow, full or gone costs lines, which are counted and told of in the
//! server's log.

mod file;
mod line;
mod lost;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{
        broadcast::{
            Receiver,
            error::{RecvError, TryRecvError},
        },
        oneshot,
    },
    task::JoinSet,
    time::timeout,
};
use tracing::warn;
use tunnel_server::{RequestRecord, ServerHandle};

use self::{file::LogFile, lost::Lost};
use crate::{
    args::AccessFormat,
    run::{Failure, Hangups},
};

/// How many bytes are gathered before they are written, as long as there is more to gather.
const BATCH: usize = 64 * 1024;

/// How long the disk may take for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Where the lines go, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessLogPlan {
    /// `-` is standard output.
    pub(crate) path: PathBuf,
    pub(crate) format: AccessFormat,
}

/// An access log that is being written, if there is one.
#[derive(Debug, Default)]
pub(crate) struct AccessLog {
    writing: JoinSet<()>,
    over: Option<oneshot::Sender<()>>,
}

/// What the writing task has.
struct Writer {
    format: AccessFormat,
    file: LogFile,
    batch: Vec<u8>,
    lost: Lost,
}

impl AccessLogPlan {
    /// Whether the file can be there, as far as that can be said without opening it: its directory isn't made for it.
    ///
    /// # Errors
    /// [`Failure::AccessLog`].
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let fault = match fs::metadata(directory.unwrap_or(Path::new("."))) {
            Ok(found) if !found.is_dir() => Some(io::ErrorKind::NotADirectory.into()),
            Ok(_) if self.path.is_dir() => Some(io::ErrorKind::IsADirectory.into()),
            Ok(_) => None,
            Err(error) => Some(error),
        };
        fault.map_or(Ok(()), |source| Err(Failure::AccessLog { path: self.path.clone(), source }))
    }
}

impl AccessLog {
    /// Begins to write what becomes of `server`'s visitors; nothing without a plan.
    ///
    /// # Errors
    /// The file can't be opened, or the system passes no signals on.
    pub(crate) fn begin(plan: Option<&AccessLogPlan>, server: &ServerHandle) -> Result<Self, Failure> {
        let mut log = Self::default();
        let Some(plan) = plan else { return Ok(log) };
        let file = LogFile::open(&plan.path)
            .map_err(|source| Failure::AccessLog { path: plan.path.clone(), source })?;
        let hangups = Hangups::listen()?;
        let records = if plan.format.is_in_full() { server.requests_in_full() } else { server.requests() };
        let writer = Writer { format: plan.format, file, batch: Vec::new(), lost: Lost::default() };
        let (over, is_over) = oneshot::channel();
        log.over = Some(over);
        log.writing.spawn(writer.run(records, hangups, is_over));
        Ok(log)
    }

    /// Writes what is left, on a disk that works.
    pub(crate) async fn end(mut self) {
        self.over.take();
        let _ = timeout(LAST_LINES, self.writing.join_next()).await;
    }
}

impl Writer {
    async fn run(
        mut self,
        mut records: Receiver<Arc<RequestRecord>>,
        mut hangups: Hangups,
        mut over: oneshot::Receiver<()>,
    ) {
        loop {
            tokio::select! {
                record = records.recv() => match record {
                    Ok(record) => self.format.write(&record, &mut self.batch),
                    Err(RecvError::Lagged(missed)) => self.lost.missed(missed),
                    Err(RecvError::Closed) => return self.lost.tell_the_rest(),
                },
                () = hangups.next() => self.reopen().await,
                // Also if no visitor comes any more.
                () = self.lost.due() => self.lost.tell(),
                _ = &mut over => {
                    while self.gather(&mut records) {
                        self.write().await;
                    }
                    return self.lost.tell_the_rest();
                }
            }
            self.gather(&mut records);
            self.write().await;
        }
    }

    /// Takes what is there without waiting, as far as it fits; whether there was anything to write.
    fn gather(&mut self, records: &mut Receiver<Arc<RequestRecord>>) -> bool {
        while self.batch.len() < BATCH {
            match records.try_recv() {
                Ok(record) => self.format.write(&record, &mut self.batch),
                Err(TryRecvError::Lagged(missed)) => self.lost.missed(missed),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        !self.batch.is_empty()
    }

    async fn write(&mut self) {
        if !self.batch.is_empty()
            && let Err((lines, error)) = self.file.append(&mut self.batch).await
        {
            self.lost.failed(lines, error);
        }
        self.lost.tell();
    }

    async fn reopen(&mut self) {
        if let Err(error) = self.file.reopen().await {
            warn!(%error, path = %self.file.path().display(), "the access log can't be opened anew; it goes on in the old file");
        }
    }
}
