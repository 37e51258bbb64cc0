//! The server's store, as the admin API asks for it: two models of tokens that know nothing of each other meet here.

mod forms;

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use tokio::runtime::Handle;
use tunnel_admin::{
    Actor, ActorRecord, AuditEntry, AuditPage, Deed, IssuedToken, NewToken, Reservation, RightsChanges,
    Stamp, Token, TokenInFull, TokenRights, Tokens, TokensError, Usage,
};
use tunnel_server::Hostname;
use tunnel_store::{Month, Store, TokenRecord, WriteError};

use self::forms::{changes, reserved_name, rights, token};
pub(super) use self::forms::{changes_in_texts, rights_in_texts};

/// The store, for threads that may wait for a disk.
pub(super) struct Keeper {
    store: Store,
    /// What tokens of this server carry of its key.
    pin: Option<[u8; 32]>,
    /// The server's domain, if that is known: before its first start it isn't.
    domain: Option<Hostname>,
    runtime: Handle,
}

impl Keeper {
    /// Must be made within the runtime that the store's callers wait in.
    pub(super) fn new(store: Store, pin: Option<[u8; 32]>, domain: Option<Hostname>) -> Self {
        Self { store, pin, domain, runtime: Handle::current() }
    }

    fn record(&self, name: &str) -> Result<Token, TokensError> {
        Ok(token(&*self.store.known(name).map_err(refused)?))
    }

    fn issued(&self, name: &str, secret: &tunnel_protocol::Token) -> Result<IssuedToken, TokensError> {
        Ok(IssuedToken { token: self.record(name)?, secret: secret.expose() })
    }
}

impl Tokens for Keeper {
    fn tokens(&self) -> Result<Vec<Token>, TokensError> {
        let mut tokens: Vec<_> = self.store.tokens().iter().map(|record| token(record)).collect();
        tokens.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tokens)
    }

    fn token(&self, name: &str) -> Result<TokenInFull, TokensError> {
        let record = self.store.known(name).map_err(refused)?;
        let used = self.runtime.block_on(self.store.usage(record.id)).map_err(refused)?;
        let reserved = self.store.reserved().into_iter().filter(|reserved| reserved.token == record.id);
        Ok(TokenInFull {
            token: token(&record),
            reserved: reserved.map(|reserved| reserved.name.to_string()).collect(),
            usage: used.into_iter().map(|used| forms::usage(&record, used.month, used.usage)).collect(),
        })
    }

    fn create_token(&self, by: &Actor, new: &NewToken) -> Result<IssuedToken, TokensError> {
        let made =
            tunnel_store::NewToken { name: new.name.clone(), rights: rights(&new.rights)?, pin: self.pin };
        let secret = self.runtime.block_on(self.store.create(made, actor(by))).map_err(refused)?;
        self.issued(&new.name, &secret)
    }

    fn set_rights(&self, by: &Actor, name: &str, wanted: &TokenRights) -> Result<Token, TokensError> {
        let set = self.store.set_rights(name, rights(wanted)?, actor(by));
        Ok(token(&*self.runtime.block_on(set).map_err(refused)?))
    }

    fn change_rights(&self, by: &Actor, name: &str, wanted: &RightsChanges) -> Result<Token, TokensError> {
        let changed = self.store.edit(name, changes(wanted)?, actor(by));
        Ok(token(&*self.runtime.block_on(changed).map_err(refused)?))
    }

    fn revoke_token(&self, by: &Actor, name: &str) -> Result<(), TokensError> {
        self.runtime.block_on(self.store.revoke(name, actor(by))).map_err(refused)
    }

    fn rotate_token(&self, by: &Actor, name: &str, grace: Duration) -> Result<IssuedToken, TokensError> {
        let rotated = self.store.rotate(name, grace, self.pin, actor(by));
        let secret = self.runtime.block_on(rotated).map_err(refused)?;
        self.issued(name, &secret)
    }

    fn reservations(&self) -> Result<Vec<Reservation>, TokensError> {
        let reserved = self.store.reserved().into_iter().map(|reserved| Reservation {
            name: reserved.name.to_string(),
            token: reserved.token_name.to_string(),
            since: Some(Stamp(reserved.created)),
        });
        Ok(reserved.collect())
    }

    fn reserve(&self, by: &Actor, wanted: &Reservation) -> Result<(), TokensError> {
        let name = reserved_name(&wanted.name)?;
        let alias = self.domain.as_ref().and_then(|domain| name.alias(domain));
        self.runtime.block_on(self.store.reserve(name, alias, &wanted.token, actor(by))).map_err(refused)
    }

    fn release(&self, by: &Actor, name: &str) -> Result<(), TokensError> {
        self.runtime.block_on(self.store.release(reserved_name(name)?, actor(by))).map_err(refused)
    }

    fn usage(&self, month: Option<&str>) -> Result<Vec<Usage>, TokensError> {
        let month = match month {
            Some(text) => text.parse::<Month>().map_err(|_| {
                TokensError::Invalid(format!("`{}` isn't a month such as 2026-11", text.escape_default()))
            })?,
            None => Month::of(SystemTime::now()),
        };
        let used = self.runtime.block_on(self.store.usage_in(month)).map_err(refused)?;
        let used: HashMap<_, _> = used.into_iter().collect();
        let of_token = |record: &TokenRecord| {
            let used = used.get(&record.id).copied().unwrap_or_default();
            forms::usage(record, month, used)
        };
        Ok(self.store.tokens().iter().map(|record| of_token(record)).collect())
    }

    fn audit(&self, page: &AuditPage) -> Result<Vec<AuditEntry>, TokensError> {
        let before = page.before.map(|before| i64::try_from(before).unwrap_or(i64::MAX));
        let limit = page.limit.unwrap_or(AuditPage::USUAL);
        let entries = self.runtime.block_on(self.store.audit(before, limit)).map_err(refused)?;
        let entries = entries.into_iter().map(|entry| AuditEntry {
            id: u64::try_from(entry.id).unwrap_or_default(),
            at: Stamp(entry.at),
            by: ActorRecord(entry.actor),
            what: entry.action,
            about: entry.subject,
            detail: entry.detail,
        });
        Ok(entries.collect())
    }

    fn note(&self, by: &Actor, deed: &Deed) -> Result<(), TokensError> {
        self.store.note(&actor(by), deed.what, &deed.about, &deed.detail);
        Ok(())
    }
}

fn actor(by: &Actor) -> tunnel_store::Actor {
    match by {
        Actor::Command => tunnel_store::Actor::Command,
        by => tunnel_store::Actor::Admin(by.to_string()),
    }
}

/// The store's words, which say what to do next.
fn refused(error: WriteError) -> TokensError {
    let words = error.to_string();
    match error {
        WriteError::UnknownToken { .. } | WriteError::NotReserved(_) => TokensError::Unknown(words),
        WriteError::Exists(_) => TokensError::Exists(words),
        WriteError::Name => TokensError::Misnamed(words),
        WriteError::NoRight { .. }
        | WriteError::LastRight(_)
        | WriteError::UnreadableRights { .. }
        | WriteError::Reserved { .. }
        | WriteError::ReservedAs { .. } => TokensError::Invalid(words),
        error => TokensError::Store(error.into()),
    }
}

#[cfg(test)]
mod tests;
