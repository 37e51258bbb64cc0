//! The server's store (`store.db`): opened here, and kept up to date with what happens.

use std::{collections::BTreeMap, path::Path, time::Duration};

use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{MissedTickBehavior, interval},
};
use tunnel_server::{Event, Hostname, ReservedName};
use tunnel_store::{Actor, OpenError, Reservation, Store};

use super::files::{self, FileError};

/// Refused logins are told by the minute: anybody can cause them.
const REFUSALS: Duration = Duration::from_secs(60);

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Its directory.
    #[error(transparent)]
    Directory(#[from] FileError),
    /// The store.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Opens the store of a data directory, which is made if it isn't there.
pub(crate) fn open(directory: &Path) -> Result<Store, StoreError> {
    files::make_private(directory)?;
    Ok(Store::open(directory)?)
}

/// What names are reserved for two tokens, as is possible while a server's domain isn't known or when it becomes another:
/// a line for each, of which the subdomain's reservation is the one that counts.
pub(crate) fn reserved_twice(reserved: &[Reservation], domain: &Hostname) -> Vec<String> {
    let subdomains = reserved.iter().filter(|one| matches!(one.name, ReservedName::Subdomain(_)));
    let clashes = subdomains.filter_map(|one| {
        let alias = one.name.alias(domain)?;
        let other = reserved.iter().find(|other| other.name == alias && other.token != one.token)?;
        Some(format!(
            "`{}` is reserved for `{}`, and `{}`, which is the same, for `{}`; run: tunnel reserve --release {}",
            one.name, one.token_name, other.name, other.token_name, other.name
        ))
    });
    clashes.collect()
}

/// Notes down what happens on the server, until that has ended.
///
/// # Cancel safety
/// Refusals of less than a minute are lost.
pub(crate) async fn keep(store: Store, mut events: Receiver<Event>) {
    let mut refused: BTreeMap<&'static str, (u64, String)> = BTreeMap::new();
    let mut ticks = interval(REFUSALS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            _ = ticks.tick() => {
                note_refusals(&store, &mut refused);
                continue;
            }
        };
        match event {
            Ok(Event::LoginRefused { address, code }) => {
                let entry = refused.entry(code).or_default();
                entry.0 += 1;
                entry.1 = address.ip().to_canonical().to_string();
            }
            Ok(Event::SessionStarted { session, identity, machine, address }) => {
                let detail = format!("session {session} from {} on `{machine}`", address.ip().to_canonical());
                store.note(&Actor::Server, "session-started", &identity, &detail);
            }
            Ok(Event::SessionEnded { session, reason }) => {
                store.note(&Actor::Server, "session-ended", &session.to_string(), &reason);
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return note_refusals(&store, &mut refused),
        }
    }
}

fn note_refusals(store: &Store, refused: &mut BTreeMap<&'static str, (u64, String)>) {
    for (code, (count, last)) in std::mem::take(refused) {
        let detail = format!("{count} times within a minute, last from {last}");
        store.note(&Actor::Server, "login-refused", code, &detail);
    }
}
