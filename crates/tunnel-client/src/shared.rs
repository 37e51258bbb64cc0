//! What the client's handle, its supervisor, its sessions and its visitors' tasks all look at.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, broadcast, watch},
    time::Instant,
};
use tunnel_io::Meter;
use tunnel_protocol::{InstanceId, Token};
use tunnel_transport::Dial;

use crate::{
    ClientError, Event, Limits, Phase, Timeouts, forward::udp::Counts, status::SessionStatus,
    tunnel::table::Table,
};

/// One client's insides.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) table: Arc<Table>,
    /// Where visitors' places are taken from.
    pub(crate) visitors: Arc<Semaphore>,
    /// Side A is the visitors' streams, side B the upstreams.
    pub(crate) traffic: Meter,
    /// What became of UDP tunnels' datagrams.
    pub(crate) datagrams: Counts,
    rtt_micros: AtomicU64,
    /// Told when somebody wants a heartbeat now.
    pub(crate) asked_for_beat: Notify,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) order: watch::Sender<Order>,
    /// Set once, when the client has ended.
    pub(crate) end: watch::Sender<Option<Result<(), ClientError>>>,
}

/// What a client was told to be.
pub(crate) struct Settings {
    pub(crate) dialer: Box<dyn Dial>,
    /// Whether the server begins with a challenge.
    pub(crate) plaintext: bool,
    pub(crate) token: Option<Token>,
    pub(crate) instance: InstanceId,
    pub(crate) agent: String,
    pub(crate) machine: String,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
    pub(crate) report_requests: bool,
    pub(crate) fail_fast: bool,
}

/// What the supervisor is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) session: Option<SessionStatus>,
    /// Why there is no session.
    pub(crate) last_failure: String,
}

/// What the owner has told the client to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Run,
    /// Finish what is under way until then.
    Drain(Instant),
    Close,
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            table: Arc::new(Table::new(settings.limits.max_tunnels).of(settings.token.as_ref())),
            visitors: Arc::new(Semaphore::new(settings.limits.max_visitors)),
            settings,
            traffic: Meter::new(),
            datagrams: Counts::default(),
            rtt_micros: AtomicU64::new(0),
            asked_for_beat: Notify::new(),
            events: broadcast::Sender::new(crate::event::HELD),
            state: watch::Sender::new(State::default()),
            order: watch::Sender::new(Order::Run),
            end: watch::Sender::new(None),
        }
    }

    /// Tells whoever listens; nobody may.
    pub(crate) fn emit(&self, event: Event) {
        let _ = self.events.send(event);
    }

    pub(crate) fn set_rtt(&self, rtt: Duration) {
        let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        self.rtt_micros.store(micros.max(1), Ordering::Relaxed);
    }

    pub(crate) fn rtt(&self) -> Option<Duration> {
        match self.rtt_micros.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }
}

/// A random number; the largest one should the operating system have none, which only means no jitter.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX)
}
