//! Keeps the memory of the store true to the file, whoever writes to it.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rusqlite::Connection;
use tokio::sync::watch;
use tracing::warn;
use tunnel_protocol::TokenId;

use crate::{
    schema::{self, data_version},
    usage::{self, Ledger, Month},
    view::{Rows, View},
};

/// How long a look may wait for a lock, which readers hardly ever meet: a login may wait for the look.
const PATIENCE: Duration = Duration::from_millis(100);

/// The memory, and the connection by which it is filled.
#[derive(Debug)]
pub(crate) struct Memory {
    view: RwLock<Arc<View>>,
    pub(crate) ledger: Ledger,
    /// Counts the views.
    changes: watch::Sender<u64>,
    looker: Mutex<Looker>,
}

#[derive(Debug)]
struct Looker {
    connection: Connection,
    /// The file when it was read last.
    seen: Option<(i64, Month)>,
    /// Whether the last look failed: it is told once.
    is_failing: bool,
}

impl Memory {
    pub(crate) fn load(path: &Path) -> rusqlite::Result<Arc<Self>> {
        let connection = schema::connect(path)?;
        connection.busy_timeout(PATIENCE)?;
        let looker = Looker { connection, seen: None, is_failing: false };
        let memory = Self {
            view: RwLock::default(),
            ledger: Ledger::default(),
            changes: watch::Sender::new(0),
            looker: Mutex::new(looker),
        };
        memory.try_look()?;
        Ok(Arc::new(memory))
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Reads again what has changed: microseconds if nothing has. While the file can't be read, what was read before
    /// stays in force.
    pub(crate) fn look(&self) {
        if let Err(error) = self.try_look() {
            let mut looker = self.looker.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::mem::replace(&mut looker.is_failing, true) {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "the store can't be read; what was read before stays in force"
                );
            }
        }
    }

    fn try_look(&self) -> rusqlite::Result<()> {
        let mut looker = self.looker.lock().unwrap_or_else(PoisonError::into_inner);
        let month = Month::of(SystemTime::now());
        // Asked before reading: what is written in between is seen next time.
        let now = (data_version(&looker.connection)?, month);
        if looker.seen == Some(now) {
            return Ok(());
        }
        let (rows, used) = {
            let snapshot = looker.connection.transaction()?;
            let used: HashMap<TokenId, u64> = usage::of_month(&snapshot, month)?;
            (Rows::load(&snapshot)?, used)
        };
        looker.seen = Some(now);
        looker.is_failing = false;
        self.ledger.set_written(month, used);
        if !self.view().is_of(&rows) {
            *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(View::new(rows));
            self.changes.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// Has everybody ask again: time has passed something.
    pub(crate) fn nudge(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}
