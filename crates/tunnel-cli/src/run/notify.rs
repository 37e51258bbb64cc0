//! What a service manager is told (`sd_notify`): that the server is ready, how it is, which process it is, and that it
//! stops. Without one that listens, nothing is said.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};
use tunnel_server::ServerHandle;

/// How often the manager is told how the server is, at most.
const STATUS: Duration = Duration::from_secs(10);

/// Speaks to the service manager for as long as this process is the service.
#[derive(Debug)]
pub(super) struct Notifier {
    /// Whether this process is the service: others aren't listened to.
    is_service: AtomicBool,
}

impl Notifier {
    /// A server's that is the service from its start, or will be when its predecessor has handed over.
    pub(super) fn new(is_service: bool) -> Self {
        Self { is_service: AtomicBool::new(is_service) }
    }

    /// The server serves.
    pub(super) fn ready(&self) {
        self.say(&[State::Ready]);
    }

    /// The server reads its settings again; [`Notifier::ready`] says that it has.
    pub(super) fn reloading(&self) {
        self.say(&[State::Reloading]);
    }

    /// The server finishes what is under way.
    pub(super) fn stopping(&self) {
        self.say(&[State::Stopping]);
    }

    /// Another process is the service from now on.
    pub(super) fn hand_over_to(&self, pid: u32) {
        self.say(&[State::MainPid(pid)]);
        self.is_service.store(false, Ordering::Relaxed);
    }

    /// This process is the service from now on, or again.
    pub(super) fn take_over(&self) {
        self.is_service.store(true, Ordering::Relaxed);
        self.say(&[State::MainPid(std::process::id()), State::Ready]);
    }

    /// Says how the server is from time to time, and that it lives as often as the manager wants to hear it
    /// (`WatchdogSec=`). Runs on the server's own runtime: one that is stuck says nothing.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn keep(&self, handle: &ServerHandle) -> Infallible {
        let Some(watchdog) = listens() else { return std::future::pending().await };
        let every = watchdog.map_or(STATUS, |within| (within / 2).min(STATUS)).max(Duration::from_millis(10));
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = handle.totals();
            let (clients, tunnels) = (now.sessions, now.tunnels);
            self.say(&[State::Watchdog, State::Status(format!("{clients} clients, {tunnels} tunnels"))]);
        }
    }

    fn say(&self, states: &[State]) {
        if self.is_service.load(Ordering::Relaxed) {
            tell(states);
        }
    }
}

/// What can be said.
#[derive(Clone, Debug)]
enum State {
    Ready,
    Reloading,
    Stopping,
    MainPid(u32),
    Watchdog,
    Status(String),
}

/// Whether somebody listens, and how often it wants a sign of life, if it does.
#[cfg(unix)]
fn listens() -> Option<Option<Duration>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the service manager's own variable, which its library reads too"
    )]
    std::env::var_os("NOTIFY_SOCKET").map(|_| sd_notify::watchdog_enabled())
}

#[cfg(unix)]
fn tell(states: &[State]) {
    use sd_notify::NotifyState;
    let mut said = Vec::new();
    for state in states {
        said.push(match state {
            State::Ready => NotifyState::Ready,
            State::Reloading => NotifyState::Reloading,
            State::Stopping => NotifyState::Stopping,
            State::MainPid(pid) => NotifyState::MainPid(*pid),
            State::Watchdog => NotifyState::Watchdog,
            State::Status(text) => NotifyState::Status(text),
        });
        if matches!(state, State::Reloading) {
            // Without the time it isn't taken.
            said.extend(NotifyState::monotonic_usec_now().ok());
        }
    }
    if let Err(error) = sd_notify::notify(&said) {
        tracing::warn!(%error, "the service manager can't be told {states:?}");
    }
}

#[cfg(not(unix))]
fn listens() -> Option<Option<Duration>> {
    None
}

#[cfg(not(unix))]
fn tell(_: &[State]) {}
