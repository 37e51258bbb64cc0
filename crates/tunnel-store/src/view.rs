//! What is in memory of the store: read by whoever asks for a client or a visitor, replaced whole.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use rusqlite::Connection;
use tracing::warn;
use tunnel_protocol::TokenId;
use tunnel_server::{Reservations, StoredToken};

use crate::{
    reservations::{self, Reservation, ReservationRow},
    tokens::{self, TokenRecord, TokenRow},
};

/// The store at one moment.
#[derive(Debug, Default)]
pub(crate) struct View {
    rows: Rows,
    tokens: HashMap<TokenId, StoredToken>,
    /// In the order they were made.
    pub(crate) records: Vec<Arc<TokenRecord>>,
    pub(crate) reserved: Vec<Reservation>,
    pub(crate) reservations: Arc<Reservations>,
}

/// What it was made of, to see whether it has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    tokens: Vec<TokenRow>,
    reservations: Vec<ReservationRow>,
}

impl Rows {
    pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self { tokens: tokens::load(connection)?, reservations: reservations::load(connection)? })
    }
}

impl View {
    /// A token that can't be read is left out: nobody may use it, and the others don't suffer.
    pub(crate) fn new(rows: Rows) -> Self {
        let mut view = Self::default();
        for row in &rows.tokens {
            match row.read() {
                Ok((stored, record)) => {
                    view.tokens.insert(stored.id, stored);
                    view.records.push(Arc::new(record));
                }
                Err(reason) => {
                    warn!(token = row.name(), %reason, "a token can't be read, and nobody may use it");
                }
            }
        }
        let names = |token: TokenId| view.tokens.get(&token).map(|token| token.name.clone());
        for row in &rows.reservations {
            match row.read(names) {
                Some(reservation) => view.reserved.push(reservation),
                None => warn!(reservation = row.name(), "a reservation can't be read, and doesn't hold"),
            }
        }
        let all = view.reserved.iter().map(|reserved| (reserved.name.clone(), reserved.token));
        view.reservations = Arc::new(all.collect());
        view.rows = rows;
        view
    }

    pub(crate) fn is_of(&self, rows: &Rows) -> bool {
        self.rows == *rows
    }

    pub(crate) fn token(&self, id: TokenId) -> Option<&StoredToken> {
        self.tokens.get(&id)
    }
}

impl View {
    /// Whether after `since`, and by `now`, a time was reached from which on some token may do something else. Both by
    /// the clock: one that is set, or a machine that slept, passes all that lies between.
    pub(crate) fn has_passed(&self, since: SystemTime, now: SystemTime) -> bool {
        let times = self.records.iter().flat_map(|record| [record.former_until, record.rights.expires]);
        times.flatten().any(|time| since < time && time <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use tunnel_server::Rights;

    use super::*;

    #[test]
    fn what_lies_between_two_looks_has_passed_however_far_the_clock_went() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let record = TokenRecord {
            id: TokenId([1; 8]),
            name: "ci".into(),
            created: at(0),
            rotated: None,
            former_until: Some(at(1_000)),
            rights: Arc::new(Rights { expires: Some(at(5_000)), ..Rights::default() }),
        };
        let view = View { records: vec![Arc::new(record)], ..View::default() };
        for (since, now, passed) in [
            (999, 1_000, true),
            (1_000, 1_001, false),
            (900, 90_000, true),
            (1_000, 90_000, true),
            (5_000, 90_000, false),
            (5_000, 900, false),
        ] {
            assert_eq!(view.has_passed(at(since), at(now)), passed, "{since} to {now}");
        }
    }
}
