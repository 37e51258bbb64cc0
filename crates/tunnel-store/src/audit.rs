//! Who did what, and when: for the operator who wonders later.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, Transaction, params};
use tunnel_protocol::text::printable;

use crate::time::{from_seconds, to_seconds};

/// Entries kept: the latest so many of what the operator did, as many of what others can cause …
const KEPT: i64 = 50_000;
/// … and none older.
const KEPT_FOR: Duration = Duration::from_secs(400 * 24 * 3600);
/// Entries that may wait to be written; beyond, what others cause isn't noted, and for the rest the oldest go.
const WAITING: usize = 4096;

/// What strangers and clients can cause as often as they like. However much there is of it, it pushes nothing out that
/// the operator did.
const OTHERS: [&str; 4] = ["session-started", "session-ended", "login-refused", "sign-in-refused"];

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Somebody at the command line of the server's machine.
    Command,
    /// Somebody by the admin API, the dashboard included: how they came in.
    Admin(String),
    /// The server by itself.
    Server,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Counts up; 0 before it is written.
    pub id: i64,
    /// When, in whole seconds.
    pub at: SystemTime,
    /// Who: `command`, `admin` or `server`.
    pub actor: String,
    /// What, as a fixed word: `token-created`, `session-kicked`, …
    pub action: String,
    /// To whom or what.
    pub subject: String,
    /// More about it, for people; never a secret.
    pub detail: String,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "command",
            Self::Admin(who) => who,
            Self::Server => "server",
        })
    }
}

impl AuditEntry {
    /// An entry for something that happens now. What is long is cut.
    pub(crate) fn now(actor: &Actor, action: &str, subject: &str, detail: &str) -> Self {
        let cut = |text: &str| printable(text, 500);
        Self {
            id: 0,
            at: SystemTime::now(),
            actor: actor.to_string(),
            action: cut(action),
            subject: cut(subject),
            detail: cut(detail),
        }
    }

    fn is_others(&self) -> bool {
        OTHERS.contains(&self.action.as_str())
    }
}

/// What waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<VecDeque<AuditEntry>>);

impl Journal {
    pub(crate) fn push(&self, entry: AuditEntry) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING {
            if entry.is_others() {
                return;
            }
            waiting.pop_front();
        }
        waiting.push_back(entry);
    }

    pub(crate) fn take(&self) -> Vec<AuditEntry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// What could not be written goes before what came since.
    pub(crate) fn give_back(&self, entries: Vec<AuditEntry>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries.into_iter().rev().take(WAITING.saturating_sub(waiting.len())) {
            waiting.push_front(entry);
        }
    }
}

pub(crate) fn append(transaction: &Transaction<'_>, entry: &AuditEntry) -> rusqlite::Result<()> {
    let mut statement = transaction
        .prepare_cached("INSERT INTO audit (at, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)")?;
    let AuditEntry { at, actor, action, subject, detail, .. } = entry;
    statement.execute(params![to_seconds(*at), actor, action, subject, detail]).map(|_| ())
}

/// Removes what is old or too much.
pub(crate) fn prune(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    prune_to(transaction, KEPT)
}

fn prune_to(transaction: &Transaction<'_>, kept: i64) -> rusqlite::Result<()> {
    let oldest = to_seconds(SystemTime::now().checked_sub(KEPT_FOR).unwrap_or(SystemTime::UNIX_EPOCH));
    transaction.execute("DELETE FROM audit WHERE at < ?", [oldest])?;
    let is_others = format!("action IN ('{}')", OTHERS.join("', '"));
    let first_too_many = format!(
        "DELETE FROM audit WHERE ({is_others}) = ?1 AND id <=
             (SELECT id FROM audit WHERE ({is_others}) = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)"
    );
    for others in [true, false] {
        transaction.execute(&first_too_many, params![others, kept])?;
    }
    Ok(())
}

/// The latest `limit` entries before `before`, the latest first.
pub(crate) fn latest(
    connection: &Connection,
    before: Option<i64>,
    limit: u32,
) -> rusqlite::Result<Vec<AuditEntry>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, at, actor, action, subject, detail FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?",
    )?;
    let rows = statement.query_map(params![before.unwrap_or(i64::MAX), limit], |row| {
        Ok(AuditEntry {
            id: row.get(0)?,
            at: from_seconds(row.get(1)?),
            actor: row.get(2)?,
            action: row.get(3)?,
            subject: row.get(4)?,
            detail: row.get(5)?,
        })
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    fn entry(action: &str, subject: &str) -> AuditEntry {
        AuditEntry::now(&Actor::Server, action, subject, "")
    }

    #[test]
    fn what_others_cause_pushes_nothing_out_that_the_operator_did() {
        let home = tempfile::tempdir().unwrap();
        let mut connection = schema::open(&home.path().join(schema::FILE)).unwrap();
        let transaction = connection.transaction().unwrap();
        for at in 0..30 {
            append(&transaction, &entry("token-created", &at.to_string())).unwrap();
            OTHERS.iter().for_each(|action| append(&transaction, &entry(action, "")).unwrap());
        }
        prune_to(&transaction, 10).unwrap();
        let kept = latest(&transaction, None, 1000).unwrap();
        let (others, deeds): (Vec<_>, Vec<_>) = kept.iter().partition(|entry| entry.is_others());
        assert_eq!((others.len(), deeds.len()), (10, 10));
        assert_eq!((deeds[0].subject.as_str(), deeds[9].subject.as_str()), ("29", "20"), "the latest");
        prune_to(&transaction, 10).unwrap();
        assert_eq!(latest(&transaction, None, 1000).unwrap().len(), 20);

        let journal = Journal::default();
        journal.push(entry("token-edited", ""));
        (0..WAITING).for_each(|_| journal.push(entry("session-started", "")));
        journal.push(entry("session-kicked", ""));
        let waiting = journal.take();
        assert_eq!((waiting.len(), waiting[WAITING - 1].action.as_str()), (WAITING, "session-kicked"));
    }
}
