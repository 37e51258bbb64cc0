//! The server's live handle to a tunnel: what a route points at and what visitors are dispatched through.
//!
//! An endpoint outlives sessions. While its client is away it stays in the routes and visitors wait at it; a
//! returning client is attached to the same endpoint, and they go on. Only the registry attaches and detaches.
//!
//! Several clients may serve one endpoint. Each visitor is given to the one that has the fewest just then, but those
//! that last failed to reach their upstream, or were full, come last: nobody has fewer visitors than who fails at once.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tunnel_io::Pace;
use tunnel_protocol::{Code, ServerMessage, TunnelId, bind::PublicAddress, control::RequestReport};
use tunnel_router::PathPrefix;

pub(crate) use crate::target::{Serving, Target};
use crate::{addresses::Counted, auth::Identity, policy::Policies, tally::Tally, waiting::WaitingRoom};

/// How often a visitor that was refused is given to another client: if several upstreams fail at once, nobody knows
/// yet of which.
const REFUSALS: u32 = 3;

/// One public name or port, for as long as one owner holds it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Where visitors find it.
    pub(crate) address: PublicAddress,
    /// Who holds it: visitors that waited through an absence are only ever given to this identity.
    pub(crate) owner: Identity,
    /// What it has carried.
    pub(crate) tally: Arc<Tally>,
    /// Cancelled when nothing of it may go on: the operator closed it, or the server stops.
    pub(crate) over: CancellationToken,
    /// Whether all new visitors are refused until the operator says otherwise.
    paused: AtomicBool,
    /// Of which paths they are, otherwise.
    paused_paths: ArcSwap<Vec<PathPrefix>>,
    state: watch::Sender<State>,
    /// Those of who serves it, or did last.
    policies: Mutex<Arc<Policies>>,
    /// Counts choices, so that clients that are equally busy take turns.
    turns: AtomicUsize,
    visitors: Arc<AtomicUsize>,
    /// How many of those who wait do so here.
    waiting_here: Arc<AtomicUsize>,
    /// How fast the bytes of all visitors may go, whoever serves them: it outlives reconnects.
    pace: Arc<Pace>,
    waiting: WaitingRoom,
}

/// Who serves an endpoint now.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// These do; there is at least one.
    Live(Vec<Arc<Target>>),
    /// Nobody, but its client may return. Visitors wait until `until`, and each at most for the hold time.
    Away {
        /// When waiting is over for all of them.
        until: Instant,
    },
    /// Nobody, for good: the endpoint is out of the routes.
    Gone,
}

/// How much of an endpoint the operator keeps new visitors out of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Paused {
    /// Nothing.
    No,
    /// Some of its paths, and what is below them.
    Below(Vec<PathPrefix>),
    /// All of it.
    All,
}

/// Counts one visitor while it lives: a bound on a number that may be set anew while some are there.
#[derive(Debug)]
pub(crate) struct VisitorPermit(Arc<AtomicUsize>);

/// A visitor's places: at an endpoint, among all visitors of its owner, and among all of its own address.
#[derive(Debug)]
pub(crate) struct Admission {
    _here: VisitorPermit,
    _of_owner: VisitorPermit,
    _of_address: Option<Counted>,
}

impl Endpoint {
    pub(crate) fn new(
        address: PublicAddress,
        owner: Identity,
        waiting: WaitingRoom,
        state: State,
        (tally, over): (Arc<Tally>, CancellationToken),
    ) -> Arc<Self> {
        Arc::new(Self {
            address,
            owner,
            tally,
            over,
            paused: AtomicBool::new(false),
            paused_paths: ArcSwap::default(),
            policies: Mutex::new(policies_of(&state).unwrap_or_default()),
            state: watch::Sender::new(state),
            turns: AtomicUsize::new(0),
            visitors: Arc::default(),
            waiting_here: Arc::default(),
            pace: Arc::new(Pace::new(0)),
            waiting,
        })
    }

    /// Whether a client serves this endpoint now.
    pub(crate) fn is_live(&self) -> bool {
        matches!(&*self.state.borrow(), State::Live(_))
    }

    /// Tells everyone who serves this endpoint from now on. Idle streams to clients that no longer do are given up.
    pub(crate) fn set_state(&self, state: State) {
        let staying = match &state {
            State::Live(targets) => targets.clone(),
            State::Away { .. } | State::Gone => Vec::new(),
        };
        // First, so that nobody is served who finds the former ones.
        if let Some(policies) = policies_of(&state) {
            *self.policies.lock().unwrap_or_else(PoisonError::into_inner) = policies;
        }
        if let State::Live(former) = self.state.send_replace(state) {
            let stays = |target: &Arc<Target>| staying.iter().any(|other| Arc::ptr_eq(other, target));
            former.iter().filter(|target| !stays(target)).for_each(|target| target.pool.close());
        }
    }

    /// Takes one of the endpoint's visitor places, and one of its owner's.
    ///
    /// # Errors
    /// Why there is none: they are all taken, or the owner's bytes of this month are used up.
    pub(crate) fn admit(&self) -> Result<Admission, Code> {
        let account = self.tally.account();
        if account.is_spent() {
            return Err(Code::QuotaUsed);
        }
        let limit = self.waiting.settings.now().limits.visitors_per_tunnel;
        let here = VisitorPermit::take(&self.visitors, limit);
        let of_owner = VisitorPermit::take(account.visitors(), account.allowance().visitors());
        let (here, of_owner) = here.zip(of_owner).ok_or(Code::TooManyVisitors)?;
        Ok(Admission { _here: here, _of_owner: of_owner, _of_address: None })
    }

    /// Refuses new visitors from now on, or no longer. Those who are there go on.
    pub(crate) fn set_paused(&self, paused: Paused) {
        self.paused.store(paused == Paused::All, Ordering::Relaxed);
        let paths = if let Paused::Below(paths) = paused { paths } else { Vec::new() };
        self.paused_paths.store(Arc::new(paths));
    }

    /// Whether all new visitors are refused for now.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Whether new visitors of this path are.
    pub(crate) fn is_paused_at(&self, path: &str) -> bool {
        self.is_paused() || self.paused_paths.load().iter().any(|prefix| prefix.matches(path))
    }

    /// How fast the bytes of all visitors may go together, as these policies have it; `None` for any speed.
    pub(crate) fn pace(&self, policies: &Policies) -> Option<Arc<Pace>> {
        self.pace.set(policies.bandwidth.unwrap_or(0));
        policies.bandwidth.map(|_| self.pace.clone())
    }

    /// Whether a datagram of so many bytes may pass now, to or from a client, at the pace of all others. Counts it.
    pub(crate) fn lets_through(&self, bytes: usize, to_client: bool) -> bool {
        let account = self.tally.account();
        let takes = |pace: &Pace| {
            let bucket = if to_client { &pace.written } else { &pace.read };
            bucket.try_take(bytes)
        };
        !account.is_spent() && takes(&self.pace) && takes(account.allowance().pace())
    }

    /// How many visitors there are now.
    pub(crate) fn visitors(&self) -> usize {
        self.visitors.load(Ordering::Relaxed)
    }

    /// Gives a visitor to the client that has the fewest: at once when there is one, and else waits for one, at most
    /// for the hold time. `avoid` has just failed the visitor, and gets it only if nobody else is there.
    ///
    /// # Errors
    /// [`Absent`] says why there is none.
    ///
    /// # Cancel safety
    /// Cancel safe: a cancelled wait gives its place up.
    pub(crate) async fn serve(
        &self,
        visitor: IpAddr,
        avoid: Option<&Arc<Target>>,
    ) -> Result<Serving, Absent> {
        // The common case takes no permit and no subscription.
        let until = match &*self.state.borrow() {
            State::Live(targets) => return Ok(self.least_busy(targets, avoid)),
            State::Away { until } => (*until).min(Instant::now() + self.waiting.settings.now().timeouts.hold),
            State::Gone => return Err(Absent::Gone),
        };
        let _place = self.waiting.enter(&self.waiting_here, visitor).ok_or(Absent::Crowded)?;
        let mut state = self.state.subscribe();
        let arrival = state.wait_for(|state| !matches!(state, State::Away { .. }));
        match tokio::time::timeout_at(until, arrival).await {
            Ok(Ok(state)) => match &*state {
                State::Live(targets) => Ok(self.least_busy(targets, avoid)),
                State::Away { .. } | State::Gone => Err(Absent::Gone),
            },
            Ok(Err(_closed)) => Err(Absent::Gone),
            Err(_elapsed) => Err(Absent::Away),
        }
    }

    /// What visitors must pass now: the policies of who serves the endpoint, or did last, so that nobody is let in
    /// to wait who wouldn't be served; none at all if a server that was restarted has never heard of them. All
    /// members of a pool have the same, and so has a client that returns and wants the same: then this is the same
    /// `Arc`, with all that it has counted.
    pub(crate) fn known_policies(&self) -> Arc<Policies> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until somebody other than `target` can serve this endpoint, or nobody does: for who found out first
    /// that `target`'s session has ended. Bounded, since a session that ended is detached at once.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn wait_until_not(&self, target: &Target) {
        let mut state = self.state.subscribe();
        let changed = state.wait_for(|state| match state {
            State::Live(now) => now.iter().any(|now| now.session.id != target.session.id && now.can_serve()),
            State::Away { .. } | State::Gone => true,
        });
        let _ = tokio::time::timeout(Duration::from_secs(1), changed).await;
    }

    /// Whether several clients serve this endpoint.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(&*self.state.borrow(), State::Live(targets) if targets.len() > 1)
    }

    /// Whether a visitor whom `target` has refused, and who was refused `before` that, should be given to another: one
    /// whose upstream is there, for all that is known, or the first time anyone.
    pub(crate) fn has_other(&self, target: &Arc<Target>, before: u32) -> bool {
        let is_worth_it = |other: &Arc<Target>| {
            !Arc::ptr_eq(other, target) && other.can_serve() && (before == 0 || !other.reach.is_failing())
        };
        before < REFUSALS
            && matches!(&*self.state.borrow(), State::Live(targets) if targets.iter().any(is_worth_it))
    }

    /// Whether a visitor that `target` failed may be given to its session again: there is nobody else, or one of the
    /// others is of the same.
    pub(crate) fn is_left_to_session_of(&self, target: &Arc<Target>) -> bool {
        let State::Live(targets) = &*self.state.borrow() else { return false };
        let is_other = |other: &&Arc<Target>| !Arc::ptr_eq(other, target) && other.can_serve();
        let mut others = targets.iter().filter(is_other).peekable();
        others.peek().is_none() || others.any(|other| other.session.id == target.session.id)
    }

    /// Passes a report on to the client that served the visitor, or to any if none did, if it wants them; the first
    /// one with a hint in any case. Never waits: a report that finds no room is counted and dropped.
    pub(crate) fn report(
        &self,
        served: Option<&Target>,
        has_hint: bool,
        report: impl FnOnce(TunnelId) -> RequestReport,
    ) {
        let pass_on = |target: &Target| {
            let is_news = has_hint && !target.hinted.swap(true, Ordering::Relaxed);
            if target.report_requests || is_news {
                target.session.report(ServerMessage::Request(report(target.tunnel)));
            }
        };
        match (served, &*self.state.borrow()) {
            (Some(target), _) => pass_on(target),
            (None, State::Live(targets)) => pass_on(&targets[0]),
            (None, State::Away { .. } | State::Gone) => {}
        }
    }

    fn least_busy(&self, targets: &[Arc<Target>], avoid: Option<&Arc<Target>>) -> Serving {
        if let [only] = targets {
            return Serving::new(only);
        }
        // Of those with equally few the first is taken, and each time another one comes first.
        let turn = self.turns.fetch_add(1, Ordering::Relaxed) % targets.len();
        let (later, sooner) = targets.split_at(turn);
        let all = sooner.iter().chain(later);
        // A visitor that was failed once finds nothing out for others.
        if avoid.is_none()
            && let Some(due) = all.clone().find(|target| target.can_serve() && target.reach.wants_trial())
        {
            return Serving::on_trial(due);
        }
        let best = all.min_by_key(|target| {
            let is_avoided = avoid.is_some_and(|avoid| Arc::ptr_eq(avoid, target));
            let visitors = target.visitors.load(Ordering::Relaxed);
            (is_avoided, !target.can_serve(), target.reach.is_failing(), visitors)
        });
        Serving::new(best.expect("invariant: a live endpoint has a target"))
    }
}

/// All clients of an endpoint have the same.
fn policies_of(state: &State) -> Option<Arc<Policies>> {
    match state {
        State::Live(targets) => targets.first().map(|target| target.policies.clone()),
        State::Away { .. } | State::Gone => None,
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

impl Admission {
    /// The same, and the visitor's place among those of its address.
    pub(crate) fn with(self, of_address: Option<Counted>) -> Self {
        Self { _of_address: of_address, ..self }
    }
}

impl VisitorPermit {
    /// One of `limit` places, or `None` when as many or more are taken.
    pub(crate) fn take(count: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
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
