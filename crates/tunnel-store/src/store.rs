//! The store: one file in the server's data directory, and what may be done with it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rusqlite::Transaction;
use tokio::sync::{oneshot, watch};
use tunnel_protocol::{Token, TokenId};
use tunnel_server::{Authenticator, Identity, Login, Reservations, ReservedName, Rights, check, token_id};

use crate::{
    audit::{self, Actor, AuditEntry, Journal},
    error::{OpenError, WriteError},
    import,
    looker::Memory,
    reservations::{self, Reservation},
    schema,
    tokens::{self, Changes, NewToken, TokenRecord},
    usage::{self, Month, MonthUsage, Usage},
    view::{Rows, View},
    writer::{Writer, flush, in_transaction},
};

/// What a server remembers. Cheap to clone; the last one dropped writes what is left and waits for that.
///
/// Whatever a write's `Ok` says is on the disk by then, and in the memory that logins and visitors are checked by.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
    memory: Arc<Memory>,
    journal: Arc<Journal>,
    writer: Arc<Writer>,
}

impl Store {
    /// Opens the store of a data directory, which must be there, and makes it at the first time. Tokens from before
    /// there were stores (`tokens.json`) are taken over.
    ///
    /// Blocks for some milliseconds, and as long as another process writes.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed but by migrations that were whole.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(schema::FILE);
        let fails = |source| OpenError::Database { path: path.clone(), source };
        let mut connection = schema::open(&path)?;
        import::run(directory, &mut connection)?;
        let memory = Memory::load(&path).map_err(fails)?;
        let journal = Arc::<Journal>::default();
        let writer = Arc::new(Writer::start(connection, memory.clone(), journal.clone())?);
        Ok(Self { directory: directory.to_owned(), memory, journal, writer })
    }

    /// Says that the store is in use instead of `tokens.json`, which is called `tokens.json.imported` from now on. For
    /// servers: a command that comes before the first start leaves the file to the server that still reads it.
    ///
    /// # Errors
    /// [`OpenError::File`]: it can't be renamed.
    pub fn take_over(&self) -> Result<(), OpenError> {
        import::finish(&self.directory)
    }

    /// All tokens, in the order they were made.
    pub fn tokens(&self) -> Vec<Arc<TokenRecord>> {
        self.memory.view().records.clone()
    }

    /// Whether there is a token or ever was one, as far as that is remembered (see [`audit`](Self::audit)). Who has ended
    /// the last one wants nobody in, and so no new one either.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn had_tokens(&self) -> Result<bool, WriteError> {
        self.write(|transaction| Ok(tokens::were_any(transaction)?)).await
    }

    /// The token of a name.
    pub fn token(&self, name: &str) -> Option<Arc<TokenRecord>> {
        self.memory.view().records.iter().find(|record| &*record.name == name).cloned()
    }

    /// The same, which must be there.
    ///
    /// # Errors
    /// [`WriteError::UnknownToken`], with the names there are.
    pub fn known(&self, name: &str) -> Result<Arc<TokenRecord>, WriteError> {
        self.token(name).ok_or_else(|| {
            let known =
                self.memory.view().records.iter().take(11).map(|record| record.name.to_string()).collect();
            WriteError::UnknownToken { name: name.chars().take(100).collect(), known }
        })
    }

    /// All reservations in a data directory, by name, for whoever changes nothing there: not even a store is made.
    ///
    /// # Errors
    /// [`OpenError::Database`].
    pub fn reserved_in(directory: &Path) -> Result<Vec<Reservation>, OpenError> {
        let path = directory.join(schema::FILE);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let rows = schema::look(&path).and_then(|connection| Rows::load(&connection));
        rows.map(|rows| View::new(rows).reserved).map_err(|source| OpenError::Database { path, source })
    }

    /// All reservations, by name.
    pub fn reserved(&self) -> Vec<Reservation> {
        self.memory.view().reserved.clone()
    }

    /// Makes a token. It exists in full only in what this returns.
    ///
    /// # Errors
    /// [`WriteError`].
    ///
    /// # Cancel safety
    /// Dropped, it may still make the token, as may all writes here.
    pub async fn create(&self, new: NewToken, by: Actor) -> Result<Token, WriteError> {
        self.write(move |transaction| {
            let token = tokens::insert(transaction, &new)?;
            note(transaction, &by, "token-created", &new.name, &crate::rights_form::in_words(&new.rights))?;
            Ok(token)
        })
        .await
    }

    /// Gives a token rights and takes others from it; it is returned as it is then.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn edit(
        &self,
        name: &str,
        changes: Changes,
        by: Actor,
    ) -> Result<Arc<TokenRecord>, WriteError> {
        let asked = name.to_owned();
        self.write(move |transaction| {
            let rights = tokens::edit(transaction, &asked, &changes)?;
            Ok(note(transaction, &by, "token-edited", &asked, &crate::rights_form::in_words(&rights))?)
        })
        .await?;
        self.known(name)
    }

    /// Gives a token these rights and no others; it is returned as it is then.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn set_rights(
        &self,
        name: &str,
        rights: Rights,
        by: Actor,
    ) -> Result<Arc<TokenRecord>, WriteError> {
        let asked = name.to_owned();
        self.write(move |transaction| {
            tokens::set_rights(transaction, &asked, &rights)?;
            Ok(note(transaction, &by, "token-edited", &asked, &crate::rights_form::in_words(&rights))?)
        })
        .await?;
        self.known(name)
    }

    /// Gives a token a new secret and leaves the rest as it is; for `grace` (in whole seconds, rounded down) the former
    /// one is taken as well. Who came in by a secret that isn't taken any more has to go.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn rotate(
        &self,
        name: &str,
        grace: Duration,
        pin: Option<[u8; 32]>,
        by: Actor,
    ) -> Result<Token, WriteError> {
        let name = name.to_owned();
        self.write(move |transaction| {
            let token = tokens::rotate(transaction, &name, grace, pin)?;
            let detail = format!("the former secret is taken for another {} s", grace.as_secs());
            note(transaction, &by, "token-rotated", &name, &detail)?;
            Ok(token)
        })
        .await
    }

    /// Ends a token, with its reservations.
    ///
    /// # Errors
    /// [`WriteError::UnknownToken`], or that of the database.
    pub async fn revoke(&self, name: &str, by: Actor) -> Result<(), WriteError> {
        let name = name.to_owned();
        self.write(move |transaction| {
            tokens::remove(transaction, &name)?;
            Ok(note(transaction, &by, "token-revoked", &name, "")?)
        })
        .await
    }

    /// Sets a name aside for a token: nobody else gets it, and whoever has it loses it.
    ///
    /// # Errors
    /// [`WriteError::Reserved`] if it is another token's already, or [`WriteError::ReservedAs`] if its
    /// [`alias`](ReservedName::alias) is.
    pub async fn reserve(
        &self,
        name: ReservedName,
        alias: Option<ReservedName>,
        token: &str,
        by: Actor,
    ) -> Result<(), WriteError> {
        let token = token.to_owned();
        self.write(move |transaction| {
            let id = tokens::find(transaction, &token)?;
            reservations::insert(transaction, &name, alias.as_ref(), id)?;
            Ok(note(transaction, &by, "name-reserved", &name.to_string(), &format!("for {token}"))?)
        })
        .await
    }

    /// Lets anybody have a name again.
    ///
    /// # Errors
    /// [`WriteError::NotReserved`], or that of the database.
    pub async fn release(&self, name: ReservedName, by: Actor) -> Result<(), WriteError> {
        self.write(move |transaction| {
            reservations::remove(transaction, &name)?;
            Ok(note(transaction, &by, "name-released", &name.to_string(), "")?)
        })
        .await
    }

    /// What a token's visitors used, the latest month first. It lags behind by two seconds.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn usage(&self, token: TokenId) -> Result<Vec<MonthUsage>, WriteError> {
        self.write(move |transaction| Ok(usage::of_token(transaction, token)?)).await
    }

    /// What the visitors of each token used in a month; of those that used anything. It lags behind by two seconds.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn usage_in(&self, month: Month) -> Result<Vec<(TokenId, Usage)>, WriteError> {
        self.write(move |transaction| Ok(usage::all_of_month(transaction, month)?)).await
    }

    /// How many bytes a token's visitors have moved this month, both ways together.
    pub fn used_this_month(&self, token: TokenId) -> u64 {
        self.memory.ledger.bytes(token, Month::of(SystemTime::now()))
    }

    /// Notes down what happened; it is on the disk two seconds later.
    pub fn note(&self, by: &Actor, action: &str, subject: &str, detail: &str) {
        self.journal.push(AuditEntry::now(by, action, subject, detail));
    }

    /// Writes at once what was used and what happened, as the last one dropped does.
    ///
    /// # Errors
    /// [`WriteError::Busy`] or [`WriteError::Closed`]. What the disk refuses is kept, and logged.
    pub async fn flush(&self) -> Result<(), WriteError> {
        let (answer, answered) = oneshot::channel();
        let (memory, journal) = (self.memory.clone(), self.journal.clone());
        self.writer.send(Box::new(move |connection| {
            flush(connection, &memory, &journal);
            let _ = answer.send(());
        }))?;
        answered.await.map_err(|_ended| WriteError::Closed)
    }

    /// What happened, the latest first: at most `limit` entries, of those whose id is below `before`.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn audit(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditEntry>, WriteError> {
        self.write(move |transaction| Ok(audit::latest(transaction, before, limit)?)).await
    }

    /// Has the writer do something, and waits for it.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, WriteError> + Send + 'static,
    ) -> Result<T, WriteError> {
        let (answer, answered) = oneshot::channel();
        let memory = self.memory.clone();
        self.writer.send(Box::new(move |connection| {
            let done = in_transaction(connection, work);
            // Whoever asked may rely on it that logins are decided by it from now on.
            memory.look();
            let _ = answer.send(done);
        }))?;
        answered.await.unwrap_or(Err(WriteError::Closed))
    }
}

impl Authenticator for Store {
    fn authenticate(&self, login: Login<'_>) -> Option<Identity> {
        let id = token_id(login.credential);
        let mut view = self.memory.view();
        if id.is_some_and(|id| view.token(id).is_none()) {
            // Perhaps another process made it just now.
            self.memory.look();
            view = self.memory.view();
        }
        check(id.and_then(|id| view.token(id)), login)
    }

    fn rights(&self, identity: &Identity) -> Option<Arc<Rights>> {
        self.memory.view().token(identity.token)?.rights_of(identity)
    }

    fn has_new_secret(&self, identity: &Identity) -> bool {
        self.memory.view().token(identity.token).is_some()
    }

    fn reservations(&self) -> Arc<Reservations> {
        self.memory.view().reservations.clone()
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.memory.changes())
    }

    fn charge(&self, token: TokenId, used: Usage) {
        self.memory.ledger.charge(token, Month::of(SystemTime::now()), used);
    }

    fn used_this_month(&self, token: TokenId) -> Option<u64> {
        Some(Self::used_this_month(self, token))
    }
}

fn note(
    transaction: &Transaction<'_>,
    by: &Actor,
    action: &str,
    subject: &str,
    detail: &str,
) -> rusqlite::Result<()> {
    audit::append(transaction, &AuditEntry::now(by, action, subject, detail))
}

#[cfg(test)]
mod tests;
