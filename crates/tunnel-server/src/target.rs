//! One client's tunnel behind an endpoint: what a visitor is given to.
//!
//! An endpoint may have several, of as many clients. Whatever belongs to one of them and not to the name hangs here,
//! so that it goes when that client goes and the others keep theirs.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tunnel_protocol::{TunnelId, bind::UpstreamProtocol};

use crate::{
    http::pool::Pool,
    policy::Policies,
    session::Session,
    tally::{Tally, UpstreamGauge},
};

/// The session and the tunnel in it that serve an endpoint, alone or with others.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) session: Arc<Session>,
    pub(crate) tunnel: TunnelId,
    /// Where the client forwards to, for error pages.
    pub(crate) upstream: Arc<str>,
    /// What is spoken on its streams.
    pub(crate) protocol: UpstreamProtocol,
    /// Whether the client wants request reports.
    pub(crate) report_requests: bool,
    /// Whether it was told what its upstream refuses.
    pub(crate) hinted: AtomicBool,
    /// What becomes of visitors on their way to it.
    pub(crate) policies: Arc<Policies>,
    /// Idle HTTP streams to this client's upstream.
    pub(crate) pool: Pool,
    /// Visitors that it has now.
    pub(crate) visitors: AtomicUsize,
    /// Its endpoint's counters.
    pub(crate) tally: Arc<Tally>,
    /// Whether it last reached its upstream.
    pub(crate) reach: UpstreamGauge,
}

/// A visitor's place at a target, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Serving {
    target: Arc<Target>,
    is_trial: bool,
}

impl Target {
    /// Whether a stream to it has a chance: its session lives, and so does one of its lanes.
    pub(crate) fn can_serve(&self) -> bool {
        self.session.is_reachable()
    }
}

impl Serving {
    pub(crate) fn new(target: &Arc<Target>) -> Self {
        Self::at(target, false)
    }

    /// The place of a visitor that others would serve as well, and who finds out whether this one can again.
    pub(crate) fn on_trial(target: &Arc<Target>) -> Self {
        Self::at(target, true)
    }

    fn at(target: &Arc<Target>, is_trial: bool) -> Self {
        target.visitors.fetch_add(1, Ordering::Relaxed);
        Self { target: target.clone(), is_trial }
    }

    /// Whether nothing of the visitor's may be lost at it.
    pub(crate) fn is_trial(&self) -> bool {
        self.is_trial
    }

    /// Who serves, apart from the place.
    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }
}

impl Deref for Serving {
    type Target = Target;

    fn deref(&self) -> &Target {
        &self.target
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.target.visitors.fetch_sub(1, Ordering::Relaxed);
    }
}
