//! Tokens: who they are for, the hashes of their secrets, and what each may do.

mod changes;
mod row;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rusqlite::{OptionalExtension, Transaction, params};
use tunnel_protocol::{Token, TokenId};
use tunnel_server::Rights;

pub use self::changes::{Change, Changes};
pub(crate) use self::row::{TokenRow, load};
use crate::{error::WriteError, rights_form, time::to_seconds};

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What to call it: 1 to 64 letters, digits and `.`, `_`, `-`, `@`, and no `-` first.
    pub name: String,
    /// What it may do.
    pub rights: Rights,
    /// What it carries of the server's key, if clients are to know the server by that.
    pub pin: Option<[u8; 32]>,
}

/// A token, as it is shown: everything but its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenRecord {
    /// The public part.
    pub id: TokenId,
    /// What the operator calls it.
    pub name: Arc<str>,
    /// When it was made, in whole seconds.
    pub created: SystemTime,
    /// When its secret was replaced last, if ever.
    pub rotated: Option<SystemTime>,
    /// Until when the secret before is taken as well.
    pub former_until: Option<SystemTime>,
    /// What it may do.
    pub rights: Arc<Rights>,
}

pub(crate) fn insert(transaction: &Transaction<'_>, new: &NewToken) -> Result<Token, WriteError> {
    check_name(&new.name)?;
    let taken = transaction
        .query_row("SELECT 1 FROM tokens WHERE name = ?", [&new.name], |_| Ok(()))
        .optional()?
        .is_some();
    if taken {
        return Err(WriteError::Exists(new.name.clone()));
    }
    let token = Token::new(random()?, new.pin);
    transaction.execute(
        "INSERT INTO tokens (id, name, hash, created, rights) VALUES (?, ?, ?, ?, ?)",
        params![
            token.id().to_string(),
            new.name,
            String::from(token.hash()),
            to_seconds(SystemTime::now()),
            rights_form::write(&new.rights)
        ],
    )?;
    Ok(token)
}

/// Gives a token other rights; what it may do then.
pub(crate) fn edit(
    transaction: &Transaction<'_>,
    name: &str,
    changes: &Changes,
) -> Result<Rights, WriteError> {
    let id = find(transaction, name)?;
    let text: String =
        transaction
            .query_row("SELECT rights FROM tokens WHERE id = ?", [id.to_string()], |row| row.get(0))?;
    // No others may stand in for them: those of which nothing was said are nearly all.
    let unreadable = |reason| WriteError::UnreadableRights { token: name.into(), reason };
    let mut rights = rights_form::read(&text).map_err(unreadable)?;
    changes.apply(name, &mut rights)?;
    set_rights(transaction, name, &rights)?;
    Ok(rights)
}

pub(crate) fn set_rights(
    transaction: &Transaction<'_>,
    name: &str,
    rights: &Rights,
) -> Result<(), WriteError> {
    let id = find(transaction, name)?;
    transaction.execute(
        "UPDATE tokens SET rights = ? WHERE id = ?",
        params![rights_form::write(rights), id.to_string()],
    )?;
    Ok(())
}

/// Gives a token a new secret. The former one is taken for `grace` as well; one before that no longer.
pub(crate) fn rotate(
    transaction: &Transaction<'_>,
    name: &str,
    grace: Duration,
    pin: Option<[u8; 32]>,
) -> Result<Token, WriteError> {
    let id = find(transaction, name)?;
    let mut random = random()?;
    random[..8].copy_from_slice(&id.0);
    let token = Token::new(random, pin);
    let now = SystemTime::now();
    let until = (!grace.is_zero()).then(|| to_seconds(now + grace));
    transaction.execute(
        "UPDATE tokens SET former_hash = CASE WHEN ?2 IS NULL THEN NULL ELSE hash END, former_until = ?2,
             hash = ?3, generation = generation + 1, rotated = ?4 WHERE id = ?1",
        params![id.to_string(), until, String::from(token.hash()), to_seconds(now)],
    )?;
    Ok(token)
}

pub(crate) fn remove(transaction: &Transaction<'_>, name: &str) -> Result<TokenId, WriteError> {
    let id = find(transaction, name)?;
    transaction.execute("DELETE FROM tokens WHERE id = ?", [id.to_string()])?;
    Ok(id)
}

/// Whether there is a token, or was one.
pub(crate) fn were_any(transaction: &Transaction<'_>) -> rusqlite::Result<bool> {
    transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM tokens) OR EXISTS (SELECT 1 FROM imported)
             OR EXISTS (SELECT 1 FROM audit WHERE action = 'token-created')",
        [],
        |row| row.get(0),
    )
}

/// The token of a name.
pub(crate) fn find(transaction: &Transaction<'_>, name: &str) -> Result<TokenId, WriteError> {
    let id: Option<String> =
        transaction.query_row("SELECT id FROM tokens WHERE name = ?", [name], |row| row.get(0)).optional()?;
    if let Some(id) = id.and_then(|id| id.parse().ok()) {
        return Ok(id);
    }
    let mut names = transaction.prepare("SELECT name FROM tokens ORDER BY created, name LIMIT 11")?;
    let known = names.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Err(WriteError::UnknownToken { name: name.chars().take(100).collect(), known })
}

fn check_name(name: &str) -> Result<(), WriteError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    let is_name = (1..=64).contains(&name.len()) && name.chars().all(fits) && !name.starts_with('-');
    if is_name { Ok(()) } else { Err(WriteError::Name) }
}

fn random() -> Result<[u8; 32], WriteError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| WriteError::Random(error.into()))?;
    Ok(random)
}
