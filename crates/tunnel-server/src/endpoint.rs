//! The server's live handle to a tunnel: what a route points at and what visitors are dispatched through.
//!
//! An endpoint outlives sessions. While its client is away it stays in the routes and visitors wait at it; a
//! returning client is attached to the same endpoint, and they go on. Only the registry attaches and detaches.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tunnel_protocol::{ServerMessage, TunnelId, bind::PublicAddress, control::RequestReport};

use crate::{auth::Identity, http::pool::Pool, policy::Policies, session::Session};

/// One public name or port, for as long as one owner holds it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Where visitors find it.
    pub(crate) address: PublicAddress,
    /// Who holds it: visitors that waited through an absence are only ever given to this identity.
    pub(crate) owner: Identity,
    /// Idle HTTP streams to the upstream, shared by all visitors of this tunnel and by no other tunnel.
    pub(crate) pool: Pool,
    state: watch::Sender<State>,
    visitors: Arc<AtomicUsize>,
    parked: Arc<AtomicUsize>,
    limits: EndpointLimits,
}

/// How much one endpoint may hold.
#[derive(Clone, Debug)]
pub(crate) struct EndpointLimits {
    /// Visitors (connections, or HTTP exchanges in flight) at once.
    pub(crate) visitors: usize,
    /// Visitors waiting for this absent client at once.
    pub(crate) parked: usize,
    /// Visitors waiting for any absent client, and how many may.
    pub(crate) parked_in_all: (Arc<AtomicUsize>, usize),
    /// How long a visitor waits for an absent client.
    pub(crate) hold: Duration,
}

/// Who serves an endpoint now.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// This session's tunnel does.
    Live(Target),
    /// Nobody, but its client may return. Visitors wait until `until`, and each at most for the hold time.
    Away {
        /// When waiting is over for all of them.
        until: Instant,
    },
    /// Nobody, for good: the endpoint is out of the routes.
    Gone,
}

/// The session and the tunnel in it that serve an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) session: Arc<Session>,
    pub(crate) tunnel: TunnelId,
    /// Where the client forwards to, for error pages.
    pub(crate) upstream: Arc<str>,
    /// Whether the client wants request reports.
    pub(crate) report_requests: bool,
    /// What becomes of visitors on their way to it.
    pub(crate) policies: Arc<Policies>,
}

/// Counts one visitor of an endpoint while it lives.
#[derive(Debug)]
pub(crate) struct VisitorPermit(Arc<AtomicUsize>);

impl Endpoint {
    pub(crate) fn new(
        address: PublicAddress,
        owner: Identity,
        limits: EndpointLimits,
        state: State,
    ) -> Arc<Self> {
        Arc::new(Self {
            address,
            owner,
            pool: Pool::default(),
            state: watch::Sender::new(state),
            visitors: Arc::default(),
            parked: Arc::default(),
            limits,
        })
    }

    /// Who serves this endpoint now.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// The session that serves this endpoint now, if any.
    pub(crate) fn target(&self) -> Option<Target> {
        match &*self.state.borrow() {
            State::Live(target) => Some(target.clone()),
            State::Away { .. } | State::Gone => None,
        }
    }

    /// Tells everyone who serves this endpoint from now on. Idle streams to the former client are given up.
    pub(crate) fn set_state(&self, state: State) {
        self.state.send_replace(state);
        self.pool.clear();
    }

    /// Takes one of the endpoint's visitor places, or `None` when they are all taken.
    pub(crate) fn admit(&self) -> Option<VisitorPermit> {
        VisitorPermit::take(&self.visitors, self.limits.visitors)
    }

    /// How many visitors there are now.
    pub(crate) fn visitors(&self) -> usize {
        self.visitors.load(Ordering::Relaxed)
    }

    /// Waits for a client to serve this endpoint: at once when one does, at most for the hold time otherwise.
    ///
    /// # Errors
    /// [`Absent`] says why there is none.
    ///
    /// # Cancel safety
    /// Cancel safe: a cancelled wait gives its place up.
    pub(crate) async fn wait_for_target(&self) -> Result<Target, Absent> {
        // The common case takes no permit and no subscription.
        let until = match self.state() {
            State::Live(target) => return Ok(target),
            State::Away { until } => until.min(Instant::now() + self.limits.hold),
            State::Gone => return Err(Absent::Gone),
        };
        let _place = VisitorPermit::take(&self.parked, self.limits.parked).ok_or(Absent::Crowded)?;
        let (parked, limit) = &self.limits.parked_in_all;
        let _place_in_all = VisitorPermit::take(parked, *limit).ok_or(Absent::Crowded)?;
        let mut state = self.state.subscribe();
        let arrival = state.wait_for(|state| !matches!(state, State::Away { .. }));
        match tokio::time::timeout_at(until, arrival).await {
            Ok(Ok(state)) => match &*state {
                State::Live(target) => Ok(target.clone()),
                State::Away { .. } | State::Gone => Err(Absent::Gone),
            },
            Ok(Err(_closed)) => Err(Absent::Gone),
            Err(_elapsed) => Err(Absent::Away),
        }
    }

    /// Waits until somebody other than `target` serves this endpoint, or nobody does: for who found out first that
    /// `target`'s session has ended. Bounded, since a session that ended is detached at once.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn wait_until_not(&self, target: &Target) {
        let mut state = self.state.subscribe();
        let changed = state.wait_for(|state| match state {
            State::Live(now) => now.session.id != target.session.id,
            State::Away { .. } | State::Gone => true,
        });
        let _ = tokio::time::timeout(Duration::from_secs(1), changed).await;
    }

    /// Passes a report on to the client if it wants them. Never waits: a report that finds no room is counted and
    /// dropped.
    pub(crate) fn report(&self, report: impl FnOnce(TunnelId) -> RequestReport) {
        if let State::Live(target) = &*self.state.borrow()
            && target.report_requests
        {
            target.session.report(ServerMessage::Request(report(target.tunnel)));
        }
    }
}

/// Why no client serves an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The name was given up while the visitor waited, and nobody returned.
    Gone,
    /// The client did not return in time.
    Away,
    /// Too many visitors wait already.
    Crowded,
}

impl VisitorPermit {
    fn take(count: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let taken =
            count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < limit).then_some(n + 1));
        taken.ok().map(|_| Self(count.clone()))
    }
}

impl Drop for VisitorPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
