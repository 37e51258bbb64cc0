//! The table's row, and what it means.

use rusqlite::{Connection, Row};
use std::sync::Arc;
use tunnel_protocol::{TokenHash, TokenId};
use tunnel_server::StoredToken;

use super::TokenRecord;
use crate::{rights_form, time::from_seconds};

/// A token's row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TokenRow {
    id: String,
    name: String,
    hash: String,
    generation: u32,
    former_hash: Option<String>,
    former_until: Option<i64>,
    created: i64,
    rotated: Option<i64>,
    rights: String,
}

/// All tokens, in the order they were made.
pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Vec<TokenRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, name, hash, generation, former_hash, former_until, created, rotated, rights FROM tokens
         ORDER BY created, name",
    )?;
    statement.query_map([], TokenRow::take)?.collect()
}

impl TokenRow {
    fn take(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            hash: row.get(2)?,
            generation: row.get(3)?,
            former_hash: row.get(4)?,
            former_until: row.get(5)?,
            created: row.get(6)?,
            rotated: row.get(7)?,
            rights: row.get(8)?,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The token, or what is wrong with it.
    pub(crate) fn read(&self) -> Result<(StoredToken, TokenRecord), String> {
        let id: TokenId = self.id.parse().map_err(|_| "its id is damaged")?;
        let hash: TokenHash = self.hash.parse().map_err(|_| "its hash is damaged")?;
        let rights = rights_form::read(&self.rights).map_err(|reason| format!("its rights: {reason}"))?;
        let rights = Arc::new(rights);
        let name: Arc<str> = self.name.as_str().into();
        let former_until = self.former_until.map(from_seconds);
        let former = match (&self.former_hash, former_until) {
            (Some(hash), Some(until)) => {
                Some((hash.parse().map_err(|_| "the hash of its former secret is damaged")?, until))
            }
            _ => None,
        };
        let record = TokenRecord {
            id,
            name: name.clone(),
            created: from_seconds(self.created),
            rotated: self.rotated.map(from_seconds),
            former_until,
            rights: rights.clone(),
        };
        let stored =
            StoredToken { generation: self.generation, former, ..StoredToken::new(id, name, hash, rights) };
        Ok((stored, record))
    }
}
