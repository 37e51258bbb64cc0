//! Tokens from before there was a store: `tokens.json`, taken over once.

use std::{fmt, fs, io, path::Path};

use rusqlite::{Connection, params};
use serde::Deserialize;
use tracing::info;
use tunnel_protocol::{TokenHash, TokenId};
use tunnel_server::Rights;

use crate::{
    audit::{self, Actor, AuditEntry},
    error::{OpenError, WriteError},
    rights_form,
    writer::in_transaction,
};

/// The file, and what it is called once its tokens are in the store.
const FILE: &str = "tokens.json";
const DONE: &str = "tokens.json.imported";

#[derive(Deserialize)]
struct Content {
    version: u32,
    tokens: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    id: TokenId,
    name: String,
    hash: String,
    created: String,
    #[serde(default)]
    subdomains: Vec<String>,
    #[serde(default)]
    domains: Vec<String>,
}

/// Takes the tokens over that were never taken over before.
pub(crate) fn run(directory: &Path, connection: &mut Connection) -> Result<(), OpenError> {
    let path = directory.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(OpenError::File { path, source }),
    };
    let content = |reason: String| OpenError::Content { path: path.clone(), reason };
    let read: Content = serde_json::from_str(&text).map_err(|error| content(error.to_string()))?;
    if read.version != 1 {
        return Err(content(format!(
            "is of version {}, which this program doesn't know; upgrade it",
            read.version
        )));
    }
    let rows = read.tokens.iter().map(|record| {
        record.check().map_err(|reason| content(format!("`{}` has a damaged {reason}", record.name)))
    });
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let taken = in_transaction(connection, |transaction| {
        let mut taken = 0;
        for (Record { id, name, created, .. }, (hash, rights)) in read.tokens.iter().zip(&rows) {
            let id = id.to_string();
            if transaction.execute("INSERT OR IGNORE INTO imported (id) VALUES (?)", [&id])? == 0 {
                continue;
            }
            taken += transaction.execute(
                "INSERT INTO tokens (id, name, hash, created, rights) 
                     VALUES (?, ?, ?, coalesce(unixepoch(?), unixepoch()), ?)",
                params![id, name, String::from(*hash), created, rights],
            )?;
            audit::append(transaction, &AuditEntry::now(&Actor::Server, "token-imported", name, FILE))?;
        }
        Ok(taken)
    });
    match taken {
        Ok(0) => {}
        Ok(tokens) => info!(tokens, "the tokens of tokens.json are in the store now"),
        Err(WriteError::Database(source)) => return Err(OpenError::Database { path, source }),
        Err(error) => return Err(content(error.to_string())),
    }
    Ok(())
}

/// Puts the file out of the way: from here on it changes nothing.
pub(crate) fn finish(directory: &Path) -> Result<(), OpenError> {
    let path = directory.join(FILE);
    match fs::rename(&path, directory.join(DONE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(OpenError::File { path, source: error }),
        _ => Ok(()),
    }
}

impl Record {
    /// What can be damaged, read: the hash, and the rights as the store has them.
    fn check(&self) -> Result<(TokenHash, String), String> {
        let hash = self.hash.parse().map_err(|_| "hash")?;
        let right = |text: &str, error: &dyn fmt::Display| format!("right: `{text}`: {error}");
        let subdomains = self.subdomains.iter().map(|text| text.parse().map_err(|error| right(text, &error)));
        let domains = self.domains.iter().map(|text| text.parse().map_err(|error| right(text, &error)));
        let rights = Rights {
            subdomains: subdomains.collect::<Result<_, String>>()?,
            domains: domains.collect::<Result<_, String>>()?,
            ..Rights::default()
        };
        Ok((hash, rights_form::write(&rights)))
    }
}
