//! What one session has been asked to publish, compared with what the client wants.
//!
//! Level-triggered: whatever happened, the difference says what to do next. So a message that came at the wrong
//! moment, or a tunnel dropped while it was being bound, needs no case of its own.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tunnel_protocol::{ClientMessage, Code, Refusal, ServerMessage, TunnelId};

use super::backoff::Backoff;
use crate::{
    Event, TunnelEnd, TunnelState,
    shared::{Shared, random},
};

/// Until when the answers to a new session's binds are awaited, before the old session is left anyway.
pub(crate) const SETTLE: Duration = Duration::from_secs(5);

/// The binds of one session.
#[derive(Debug, Default)]
pub(crate) struct Binds {
    asked: BTreeMap<TunnelId, Bind>,
}

#[derive(Debug, Default)]
struct Bind {
    phase: Phase,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// No answer yet.
    #[default]
    Asked,
    /// Published.
    Bound,
    /// Refused for now; to be asked again then.
    Waiting(Instant),
}

impl Binds {
    /// Says what makes the server's tunnels those of the client's table. `say` returns whether there was room; if
    /// there was none the rest is left for the next call, and so is the answer `false`.
    pub(crate) fn sync(
        &mut self,
        shared: &Shared,
        now: Instant,
        mut say: impl FnMut(ClientMessage) -> bool,
    ) -> bool {
        let wanted = shared.table.all();
        let is_wanted = |id| wanted.binary_search_by_key(id, |entry| entry.id).is_ok();
        let gone: Vec<_> = self.asked.keys().filter(|id| !is_wanted(id)).copied().collect();
        for tunnel in gone {
            let published = !matches!(self.asked[&tunnel].phase, Phase::Waiting(_));
            if published && !say(ClientMessage::Unbind { tunnel }) {
                return false;
            }
            self.asked.remove(&tunnel);
        }
        for entry in wanted {
            let due = match self.asked.get(&entry.id).map(|bind| bind.phase) {
                None => true,
                Some(Phase::Waiting(until)) => until <= now,
                Some(Phase::Asked | Phase::Bound) => false,
            };
            if !due {
                continue;
            }
            if !say(entry.wish(shared.settings.report_requests)) {
                return false;
            }
            self.asked.entry(entry.id).or_default().phase = Phase::Asked;
        }
        true
    }

    /// Takes the server's word on a tunnel.
    pub(crate) fn hear(&mut self, shared: &Shared, now: Instant, message: ServerMessage) {
        match message {
            ServerMessage::Bound { tunnel, address } => {
                let (Some(bind), Some(entry)) = (self.asked.get_mut(&tunnel), shared.table.get(tunnel))
                else {
                    return;
                };
                bind.phase = Phase::Bound;
                bind.backoff.reset();
                let url = address.url().to_owned();
                entry.online(address);
                shared.table.took_over(&entry);
                shared.emit(Event::Online { tunnel, url });
            }
            ServerMessage::Refused { tunnel, refusal } => {
                let first =
                    shared.table.get(tunnel).is_none_or(|entry| entry.state() == TunnelState::Binding);
                let passing = refusal.is_passing() && !first;
                let Some(retry_in) = self.refused(shared, now, tunnel, &refusal, passing) else { return };
                if !first {
                    shared.emit(Event::Refused { tunnel, refusal, retry_in });
                }
            }
            ServerMessage::Unbound { tunnel, refusal } => {
                let passing = refusal.is_passing();
                let Some(retry_in) = self.refused(shared, now, tunnel, &refusal, passing) else { return };
                shared.emit(Event::Unbound { tunnel, refusal, retry_in });
            }
            _ => {}
        }
    }

    /// Whether the server has answered everything.
    pub(crate) fn settled(&self) -> bool {
        self.asked.values().all(|bind| bind.phase != Phase::Asked)
    }

    /// When the next tunnel is to be asked for again.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let waits = self.asked.values().filter_map(|bind| match bind.phase {
            Phase::Waiting(until) => Some(until),
            _ => None,
        });
        waits.min()
    }

    /// Waits for another try if that is of use, ends the tunnel if not. `None` if it isn't one of this session's.
    fn refused(
        &mut self,
        shared: &Shared,
        now: Instant,
        tunnel: TunnelId,
        refusal: &Refusal,
        passing: bool,
    ) -> Option<Option<Duration>> {
        let bind = self.asked.get_mut(&tunnel)?;
        if passing {
            bind.backoff.at_least(1);
            let wait = bind.backoff.next(
                Duration::ZERO,
                random(),
                refusal.retry_after_ms.map(Duration::from_millis),
            );
            bind.phase = Phase::Waiting(now + wait);
            if let Some(entry) = shared.table.get(tunnel) {
                entry.away();
            }
            Some(Some(wait))
        } else {
            self.asked.remove(&tunnel);
            let end = TunnelEnd::Refused(refusal.clone());
            match refusal.code {
                // Visitors whom the server sent here before are under way, on other lanes than its word on this.
                Code::TakenOver => shared.table.taken_over(tunnel, end),
                _ => shared.table.end(tunnel, end),
            }
            Some(None)
        }
    }
}
