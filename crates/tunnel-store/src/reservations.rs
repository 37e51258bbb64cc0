//! Names that are one token's alone.

use std::{sync::Arc, time::SystemTime};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tunnel_protocol::TokenId;
use tunnel_server::ReservedName;

use crate::{
    error::WriteError,
    time::{from_seconds, to_seconds},
};

/// A name and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reservation {
    /// What.
    pub name: ReservedName,
    /// Whose.
    pub token: TokenId,
    /// What the operator calls that token.
    pub token_name: Arc<str>,
    /// Since when, in whole seconds.
    pub created: SystemTime,
}

/// The table's row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReservationRow {
    name: String,
    token: String,
    created: i64,
}

impl ReservationRow {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn read(&self, name_of: impl Fn(TokenId) -> Option<Arc<str>>) -> Option<Reservation> {
        let token: TokenId = self.token.parse().ok()?;
        Some(Reservation {
            name: self.name.parse().ok()?,
            token,
            token_name: name_of(token)?,
            created: from_seconds(self.created),
        })
    }
}

pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Vec<ReservationRow>> {
    let mut statement =
        connection.prepare_cached("SELECT name, token, created FROM reservations ORDER BY name")?;
    let rows = statement.query_map([], |row| {
        Ok(ReservationRow { name: row.get(0)?, token: row.get(1)?, created: row.get(2)? })
    })?;
    rows.collect()
}

/// Sets a name aside. Doing so twice for one token is no error; for another one it is, also under its `alias`.
pub(crate) fn insert(
    transaction: &Transaction<'_>,
    name: &ReservedName,
    alias: Option<&ReservedName>,
    token: TokenId,
) -> Result<(), WriteError> {
    let name = name.to_string();
    if let Some(alias) = alias.map(ReservedName::to_string)
        && let Some((other, holder)) = holder_of(transaction, &alias)?
        && other != token.to_string()
    {
        return Err(WriteError::ReservedAs { name, alias, holder });
    }
    match holder_of(transaction, &name)? {
        Some((holder, _)) if holder == token.to_string() => Ok(()),
        Some((_, holder)) => Err(WriteError::Reserved { name, holder }),
        None => {
            transaction.execute(
                "INSERT INTO reservations (name, token, created) VALUES (?, ?, ?)",
                params![name, token.to_string(), to_seconds(SystemTime::now())],
            )?;
            Ok(())
        }
    }
}

/// For which token a name is set aside, and what the operator calls that.
fn holder_of(transaction: &Transaction<'_>, name: &str) -> rusqlite::Result<Option<(String, String)>> {
    transaction
        .query_row(
            "SELECT token, tokens.name FROM reservations JOIN tokens ON tokens.id = token WHERE reservations.name = ?",
            [name],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
}

pub(crate) fn remove(transaction: &Transaction<'_>, name: &ReservedName) -> Result<(), WriteError> {
    let name = name.to_string();
    match transaction.execute("DELETE FROM reservations WHERE name = ?", [&name])? {
        0 => Err(WriteError::NotReserved(name)),
        _ => Ok(()),
    }
}
