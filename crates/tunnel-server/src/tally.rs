//! What one tunnel has carried and refused, and what is known of its upstream.
//!
//! Counters only: written from the data plane, relaxed, and read by whoever looks. A tally belongs to a name and its
//! owner, and so outlives the sessions that serve it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tunnel_protocol::Code;

use crate::{account::Account, metrics::Metrics};

/// What a tunnel has carried since it was first bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Web requests.
    pub requests: u64,
    /// TCP and TLS connections, and UDP flows.
    pub connections: u64,
    /// Bytes from visitors to upstreams: what was sent on visitors' streams, HTTP heads included; of UDP what is in
    /// the datagrams.
    pub bytes_in: u64,
    /// Bytes from upstreams to visitors, counted as those in the other direction.
    pub bytes_out: u64,
    /// Answers by the first digit of their status, from 1 to 5: an upstream's, and ours in its stead.
    pub answers: [u64; 5],
    /// Answers and connections that broke off after they had begun, whoever broke them.
    pub cut: u64,
    /// What we refused its visitors, by reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// When a visitor last came or left; a second or so may be missing.
    pub last_visit: Option<SystemTime>,
}

/// Whether a client reached its upstream when a visitor last wanted to go there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamState {
    /// Nobody has wanted to yet.
    #[default]
    Unknown,
    /// It did.
    Ok {
        /// Since when all could.
        since: SystemTime,
    },
    /// It didn't.
    Failing {
        /// The reason's name.
        code: &'static str,
        /// Since when it is this one.
        since: SystemTime,
    },
}

/// The counters of one tunnel, and those of its owner along with them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    account: Arc<Account>,
    requests: AtomicU64,
    connections: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    answers: [AtomicU64; 5],
    cut: AtomicU64,
    last_visit_ms: AtomicU64,
    /// Touched for refusals only.
    refusals: Mutex<BTreeMap<&'static str, u64>>,
}

/// An [`UpstreamState`] that is written as often as streams are opened.
#[derive(Debug)]
pub(crate) struct UpstreamGauge {
    /// The code in the upper 16 bits, below it since when, in milliseconds of Unix time. 0 is unknown.
    state: AtomicU64,
    /// Whether it last said that it had no room for a visitor, which says nothing of its upstream.
    is_busy: AtomicBool,
    /// When the next trial is due, in milliseconds from `born`: no clock that somebody sets.
    trial_at: AtomicU64,
    born: Instant,
}

impl Tally {
    pub(crate) fn new(account: Arc<Account>) -> Arc<Self> {
        Arc::new(Self { account, ..Self::default() })
    }

    /// The owner's account.
    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.account.count_request();
    }

    pub(crate) fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.account.count_connection();
        self.touch();
    }

    pub(crate) fn count_answer(&self, status: u16) {
        if let Some(answers) = self.answers.get(usize::from(status / 100).wrapping_sub(1)) {
            answers.fetch_add(1, Ordering::Relaxed);
        }
        self.touch();
    }

    /// Whether a visitor ever got an answer that isn't a complaint.
    pub(crate) fn has_served(&self) -> bool {
        self.answers[..3].iter().any(|answers| answers.load(Ordering::Relaxed) > 0)
    }

    /// Counts an answer or a connection that broke off after it had begun.
    pub(crate) fn count_cut(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
        self.account.count_cut();
    }

    /// Counts bytes from visitors.
    pub(crate) fn add_in(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
        self.account.add_in(bytes as u64);
    }

    /// Counts bytes to visitors.
    pub(crate) fn add_out(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
        self.account.add_out(bytes as u64);
    }

    /// Counts something refused to a visitor of this tunnel, here and among all.
    pub(crate) fn refused(&self, metrics: &Metrics, code: Code) {
        metrics.refused(code);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        *refusals.entry(code.name()).or_default() += 1;
    }

    /// Notes that a visitor came or left.
    pub(crate) fn touch(&self) {
        self.last_visit_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// What was counted.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            answers: std::array::from_fn(|class| self.answers[class].load(Ordering::Relaxed)),
            cut: self.cut.load(Ordering::Relaxed),
            refusals: self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            last_visit: Some(self.last_visit_ms.load(Ordering::Relaxed)).filter(|ms| *ms != 0).map(time),
        }
    }
}

impl UpstreamGauge {
    /// The client is at the upstream.
    pub(crate) fn reached(&self) {
        self.set(OK);
        if self.is_busy.load(Ordering::Relaxed) {
            self.is_busy.store(false, Ordering::Relaxed);
        }
    }

    /// The client can't reach it, or has no room for a visitor. What it refuses for other reasons says nothing.
    pub(crate) fn failed(&self, code: Code) {
        match code {
            Code::UpstreamRefused | Code::UpstreamUnreachable | Code::UpstreamTimeout | Code::UpstreamTls => {
                self.set(code.number());
            }
            Code::ClientBusy => self.is_busy.store(true, Ordering::Relaxed),
            _ => return,
        }
        self.trial_at.store(self.now() + TRIAL_AFTER, Ordering::Relaxed);
    }

    /// Whether the client last failed to get a visitor there: others had better serve in its stead.
    pub(crate) fn is_failing(&self) -> bool {
        self.is_busy.load(Ordering::Relaxed) || number(self.state.load(Ordering::Relaxed)) > OK
    }

    /// Whether it failed, and that is long enough ago to try again. Says so to one visitor at a time.
    pub(crate) fn wants_trial(&self) -> bool {
        if !self.is_failing() {
            return false;
        }
        let (now, due) = (self.now(), self.trial_at.load(Ordering::Relaxed));
        let next = now + TRIAL_AFTER;
        now >= due && self.trial_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// A trial is due now.
    #[cfg(test)]
    pub(crate) fn hasten(&self) {
        self.trial_at.store(0, Ordering::Relaxed);
    }

    pub(crate) fn state(&self) -> UpstreamState {
        let packed = self.state.load(Ordering::Relaxed);
        let since = time(packed & MS_MASK);
        match number(packed) {
            0 => UpstreamState::Unknown,
            OK => UpstreamState::Ok { since },
            number => UpstreamState::Failing { code: Code::from_number(number).name(), since },
        }
    }

    fn set(&self, state: u16) {
        // Nearly always nothing has changed, and then nothing is written.
        if number(self.state.load(Ordering::Relaxed)) != state {
            self.state.store(u64::from(state) << MS_BITS | now_ms() & MS_MASK, Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }
}

impl Default for UpstreamGauge {
    fn default() -> Self {
        Self {
            state: AtomicU64::new(0),
            is_busy: AtomicBool::new(false),
            trial_at: AtomicU64::new(0),
            born: Instant::now(),
        }
    }
}

fn number(packed: u64) -> u16 {
    u16::try_from(packed >> MS_BITS).unwrap_or_default()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn time(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}

/// How long an upstream that failed is left alone while others serve in its stead, in milliseconds.
const TRIAL_AFTER: u64 = 5000;
/// No code has this number, and all that tell of an upstream have higher ones.
const OK: u16 = 1;
/// Milliseconds of Unix time fit into as many until the year 10889.
const MS_BITS: u32 = 48;
const MS_MASK: u64 = (1 << MS_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_for_its_owner_too_and_by_class() {
        let (account, metrics) = (Arc::<Account>::default(), Metrics::default());
        let (one, other) = (Tally::new(account.clone()), Tally::new(account.clone()));
        one.count_request();
        one.add_in(3);
        other.count_connection();
        other.add_out(4);
        for status in [100, 101, 200, 304, 404, 599, 600, 0] {
            one.count_answer(status);
        }
        one.refused(&metrics, Code::TunnelAway);
        let traffic = one.traffic();
        assert_eq!(traffic.answers, [2, 1, 1, 1, 1]);
        assert_eq!((traffic.requests, traffic.bytes_in, traffic.bytes_out), (1, 3, 0));
        assert_eq!(traffic.refusals, BTreeMap::from([("tunnel-away", 1)]));
        assert_eq!(metrics.refusals(), traffic.refusals);
        assert!(traffic.last_visit.unwrap() <= SystemTime::now());
        let usage = account.usage();
        assert_eq!((usage.requests, usage.connections, usage.bytes_in, usage.bytes_out), (1, 1, 3, 4));
    }

    #[test]
    fn an_upstream_is_in_a_state_since_it_got_there() {
        let gauge = UpstreamGauge::default();
        assert_eq!(gauge.state(), UpstreamState::Unknown);
        gauge.failed(Code::ClientBusy);
        assert_eq!(gauge.state(), UpstreamState::Unknown, "says nothing of the upstream");
        gauge.failed(Code::NoSuchTunnel);
        assert_eq!(gauge.state(), UpstreamState::Unknown, "nor does this");
        gauge.failed(Code::UpstreamRefused);
        let UpstreamState::Failing { code: "upstream-refused", since } = gauge.state() else {
            panic!("{:?}", gauge.state())
        };
        gauge.failed(Code::UpstreamRefused);
        assert_eq!(gauge.state(), UpstreamState::Failing { code: "upstream-refused", since });
        gauge.reached();
        assert!(matches!(gauge.state(), UpstreamState::Ok { since: now } if now >= since));
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_failed_is_tried_again_by_one_visitor_after_a_while() {
        let gauge = UpstreamGauge::default();
        assert!(!gauge.is_failing() && !gauge.wants_trial(), "not known to fail");
        for code in [Code::UpstreamRefused, Code::ClientBusy] {
            gauge.failed(code);
            assert!(gauge.is_failing() && !gauge.wants_trial(), "just now");
            tokio::time::advance(Duration::from_millis(TRIAL_AFTER)).await;
            assert!(gauge.wants_trial(), "{code}");
            assert!(!gauge.wants_trial(), "somebody is on the way");
            tokio::time::advance(Duration::from_millis(TRIAL_AFTER)).await;
            assert!(gauge.wants_trial(), "it was never heard of again");
            gauge.reached();
            tokio::time::advance(Duration::from_millis(TRIAL_AFTER)).await;
            assert!(!gauge.is_failing() && !gauge.wants_trial(), "{code}");
        }
    }
}
