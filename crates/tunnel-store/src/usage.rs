//! What tokens' visitors used, by calendar month: counted in memory, written every few seconds.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, Transaction, params};
use tunnel_protocol::TokenId;
pub use tunnel_server::{Month, Usage};

/// What a token used in one month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MonthUsage {
    /// Which.
    pub month: Month,
    /// How much.
    pub usage: Usage,
}

/// What is on the disk for this month, and what isn't yet.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    month: Option<Month>,
    /// Bytes of this month, as the file has them: of all processes.
    written: HashMap<TokenId, u64>,
    /// Not written yet.
    open: HashMap<(TokenId, Month), Usage>,
    /// Being written.
    leaving: HashMap<(TokenId, Month), Usage>,
}

impl Ledger {
    pub(crate) fn charge(&self, token: TokenId, month: Month, used: Usage) {
        *self.lock().open.entry((token, month)).or_default() += used;
    }

    /// All bytes of a token in a month, written or not.
    pub(crate) fn bytes(&self, token: TokenId, month: Month) -> u64 {
        let books = self.lock();
        let written = match books.month == Some(month) {
            true => books.written.get(&token).copied().unwrap_or_default(),
            false => 0,
        };
        let of = |map: &HashMap<_, Usage>| map.get(&(token, month)).map_or(0, Usage::bytes);
        written.saturating_add(of(&books.open)).saturating_add(of(&books.leaving))
    }

    pub(crate) fn set_written(&self, month: Month, written: HashMap<TokenId, u64>) {
        let mut books = self.lock();
        books.month = Some(month);
        books.written = written;
    }

    /// What is to be written now.
    pub(crate) fn take(&self) -> Vec<((TokenId, Month), Usage)> {
        let mut books = self.lock();
        books.leaving = std::mem::take(&mut books.open);
        books.leaving.iter().map(|(key, usage)| (*key, *usage)).collect()
    }

    /// What was taken has been written, and read again.
    pub(crate) fn written(&self) {
        self.lock().leaving.clear();
    }

    /// What was taken could not be written.
    pub(crate) fn give_back(&self) {
        let mut books = self.lock();
        for (key, usage) in std::mem::take(&mut books.leaving) {
            *books.open.entry(key).or_default() += usage;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds to what is there, so that two processes may count for one token.
pub(crate) fn add(transaction: &Transaction<'_>, used: &[((TokenId, Month), Usage)]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO usage (token, month, received, sent, requests, connections) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (token, month) DO UPDATE SET
             received = received + excluded.received, sent = sent + excluded.sent,
             requests = requests + excluded.requests, connections = connections + excluded.connections",
    )?;
    for ((token, month), usage) in used {
        statement.execute(params![
            token.to_string(),
            month.to_string(),
            number(usage.bytes_in),
            number(usage.bytes_out),
            number(usage.requests),
            number(usage.connections)
        ])?;
    }
    Ok(())
}

/// The bytes of each token in a month.
pub(crate) fn of_month(connection: &Connection, month: Month) -> rusqlite::Result<HashMap<TokenId, u64>> {
    let mut statement =
        connection.prepare_cached("SELECT token, received + sent FROM usage WHERE month = ?")?;
    let rows = statement
        .query_map([month.to_string()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let mut used = HashMap::new();
    for row in rows {
        let (token, bytes) = row?;
        if let Ok(token) = token.parse() {
            used.insert(token, u64::try_from(bytes).unwrap_or_default());
        }
    }
    Ok(used)
}

/// What each token used in a month; of those that used anything.
pub(crate) fn all_of_month(connection: &Connection, month: Month) -> rusqlite::Result<Vec<(TokenId, Usage)>> {
    let mut statement = connection.prepare_cached(
        "SELECT token, received, sent, requests, connections FROM usage WHERE month = ? ORDER BY token",
    )?;
    let rows = statement
        .query_map([month.to_string()], |row| Ok((row.get::<_, String>(0)?.parse().ok(), in_row(row)?)))?;
    rows.map(|row| row.map(|(token, usage)| token.map(|token| (token, usage))))
        .filter_map(Result::transpose)
        .collect()
}

/// The months of a token, the latest first.
pub(crate) fn of_token(connection: &Connection, token: TokenId) -> rusqlite::Result<Vec<MonthUsage>> {
    let mut statement = connection.prepare_cached(
        "SELECT month, received, sent, requests, connections FROM usage WHERE token = ? ORDER BY month DESC",
    )?;
    let rows = statement.query_map([token.to_string()], |row| {
        let usage = in_row(row)?;
        Ok(row.get::<_, String>(0)?.parse().ok().map(|month| MonthUsage { month, usage }))
    })?;
    rows.filter_map(Result::transpose).collect()
}

/// The numbers of a row, after what they are of.
fn in_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Usage> {
    let count = |at| row.get::<_, i64>(at).map(|count| u64::try_from(count).unwrap_or_default());
    Ok(Usage { bytes_in: count(1)?, bytes_out: count(2)?, requests: count(3)?, connections: count(4)? })
}

/// SQLite's numbers have a sign.
fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
