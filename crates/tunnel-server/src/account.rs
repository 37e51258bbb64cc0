//! What each token has used, over all its tunnels and sessions: for quotas, bills and dashboards.
//!
//! An account lives as long as the server. There is one for each token that ever logged in, and tokens are made by
//! the operator, so their number is bounded.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tunnel_mux::Budget;
use tunnel_protocol::TokenId;

use crate::{allowance::Allowance, usage::Usage};

/// The account of one token.
#[derive(Debug, Default)]
pub(crate) struct Account {
    requests: AtomicU64,
    connections: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    cut: AtomicU64,
    /// Visitors now, of all its tunnels.
    visitors: Arc<AtomicUsize>,
    /// How much of it somebody has taken note of.
    taken: Mutex<Usage>,
    /// How much of it is in the books of whoever keeps the tokens.
    charged: Mutex<Usage>,
    /// How much it may be.
    allowance: Allowance,
    /// What its clients sent and no visitor has read yet, apart from that of others.
    unread: OnceLock<Budget>,
}

/// All accounts.
#[derive(Debug, Default)]
pub(crate) struct Accounts(Mutex<HashMap<TokenId, Arc<Account>>>);

impl Account {
    /// What was used since the server started.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            requests: self.requests.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }

    /// What was used since this was last called.
    pub(crate) fn take(&self) -> Usage {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, or another's later view could be noted before this one.
        let now = self.usage();
        now - std::mem::replace(&mut *taken, now)
    }

    /// Has what was used since it was last settled put into the books by `charge`, and takes from them how much of this
    /// month's bytes is `used`, if they say.
    pub(crate) fn settle(&self, charge: impl FnOnce(Usage), used: impl FnOnce() -> Option<u64>) {
        let mut charged = self.charged.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.usage();
        let unsettled = now - std::mem::replace(&mut *charged, now);
        if !unsettled.is_nothing() {
            charge(unsettled);
        }
        self.allowance.set_used(used().unwrap_or(now.bytes()), now.bytes());
    }

    /// What counts against the server's budget of unread bytes for its lanes.
    pub(crate) fn unread(&self, of_all: &Budget) -> Budget {
        self.unread.get_or_init(|| of_all.apart()).clone()
    }

    /// What its visitors may use.
    pub(crate) fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// Whether this month's bytes are used up.
    pub(crate) fn is_spent(&self) -> bool {
        let bytes = [&self.bytes_in, &self.bytes_out].map(|count| count.load(Ordering::Relaxed));
        self.allowance.is_spent(bytes[0].saturating_add(bytes[1]))
    }

    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_in(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_out(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_cut(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
    }

    /// What broke off after it had begun.
    pub(crate) fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Visitors of all its tunnels, now.
    pub(crate) fn visitors(&self) -> &Arc<AtomicUsize> {
        &self.visitors
    }
}

impl Accounts {
    /// The account of a token, from now on if it has none yet.
    pub(crate) fn of(&self, token: TokenId) -> Arc<Account> {
        self.lock().entry(token).or_default().clone()
    }

    /// How many visitors there are now, those that wait for a client included: exchanges, connections and flows.
    pub(crate) fn visitors(&self) -> usize {
        self.lock().values().map(|account| account.visitors().load(Ordering::Relaxed)).sum()
    }

    /// Every account.
    pub(crate) fn all(&self) -> Vec<(TokenId, Arc<Account>)> {
        self.lock().iter().map(|(token, account)| (*token, account.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenId, Arc<Account>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::Rights;

    #[test]
    fn what_is_taken_is_taken_once_and_the_total_stays() {
        let accounts = Accounts::default();
        let (ours, theirs) = (accounts.of(TokenId([1; 8])), accounts.of(TokenId([2; 8])));
        ours.add_in(10);
        ours.count_request();
        accounts.of(TokenId([1; 8])).add_out(5);
        let all = Usage { requests: 1, bytes_in: 10, bytes_out: 5, ..Usage::default() };
        assert_eq!((ours.take(), ours.take()), (all, Usage::default()));
        ours.add_in(1);
        assert_eq!(ours.take(), Usage { bytes_in: 1, ..Usage::default() });
        assert_eq!(ours.usage(), Usage { bytes_in: 11, ..all });
        assert!(theirs.usage().is_nothing());
    }

    #[test]
    fn a_month_is_spent_to_the_byte_and_more_may_be_allowed() {
        let account = Account::default();
        let books = Mutex::new(0);
        let settle = || {
            let charge = |used: Usage| *books.lock().unwrap() += used.bytes();
            account.settle(charge, || Some(*books.lock().unwrap()));
        };
        let limit = |bytes| account.allowance().set(&Rights { monthly_bytes: bytes, ..Rights::default() });
        account.add_in(1_000);
        settle();
        assert!(!account.is_spent(), "no limit");
        limit(Some(1_500));
        settle();
        account.add_out(499);
        assert!(!account.is_spent());
        account.add_out(1);
        assert!(account.is_spent());
        settle();
        assert!(account.is_spent() && *books.lock().unwrap() == 1_500);
        limit(Some(1_501));
        settle();
        assert!(!account.is_spent());
        *books.lock().unwrap() = 0;
        account.add_in(1);
        settle();
        assert!(!account.is_spent(), "another month");
        limit(Some(0));
        settle();
        assert!(account.is_spent());
    }
}
