//! Control connections: from an accepted socket to a session that serves tunnels, and back down again.
//!
//! ```text
//! accept ──► login (one deadline for TLS and login, one task per connection)
//!              ├─ Hello            ──► session: control stream, heartbeat, binds, driver of the first lane
//!              └─ Hello + attach   ──► a further lane of a running session
//! ```

mod accept;
mod asker;
mod asking_pace;
mod bind;
mod enforce;
mod heartbeat;
mod lane;
mod login;
mod login_pace;
mod messages;
mod session;
mod standing;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tunnel_protocol::{Code, Refusal, SessionId};

pub(crate) use self::{
    accept::{accept, serve},
    enforce::{charge, keep as enforce},
    login_pace::LoginPace,
};
use crate::{
    auth::Authenticator, config::Limits, registry::Registry, session::Session, shared::Shared,
    throttle::Throttle,
};

/// What every control connection needs.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) shared: Shared,
    pub(crate) registry: Arc<Registry>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) pace: Arc<LoginPace>,
    pub(crate) sessions: Arc<Sessions>,
    /// Cancelled by whoever wants the server to drain without having asked for that when it began to run.
    pub(crate) retiring: CancellationToken,
    /// Every control connection's task.
    pub(crate) tasks: TaskTracker,
}

impl Control {
    /// Why clients are to log in later, if they are, or at once: at the successor that takes connections by now.
    pub(crate) fn why_no_clients(&self) -> Option<Refusal> {
        if self.shared.has_successor() {
            return Some(Refusal::passing(Code::Draining, "another server process is taking over", 0));
        }
        let is_draining = self.shared.draining.is_cancelled();
        is_draining.then(|| Refusal::passing(Code::Draining, "the server is about to stop", 1_000))
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}

/// The sessions there are.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<SessionId, Arc<Session>>>);

/// A session's place in the list: dropping it takes the session out.
#[derive(Debug)]
pub(crate) struct SessionGuard {
    sessions: Arc<Sessions>,
    id: SessionId,
}

impl Sessions {
    /// Puts a session in, unless there are too many, in all or of its token.
    pub(crate) fn insert(self: &Arc<Self>, session: &Arc<Session>, limits: &Limits) -> Option<SessionGuard> {
        let mut sessions = self.lock();
        let token = session.identity.token;
        let of_token = sessions.values().filter(|other| other.identity.token == token).count();
        if sessions.len() >= limits.sessions || of_token >= limits.sessions_per_token {
            return None;
        }
        sessions.insert(session.id, session.clone());
        Some(SessionGuard { sessions: self.clone(), id: session.id })
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<Arc<Session>> {
        self.lock().get(&id).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.id);
    }
}
