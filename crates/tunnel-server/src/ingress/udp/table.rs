//! Which flow a datagram belongs to, and whose place a new one may take.
//!
//! Anybody can send datagrams in anybody's name, so a new address proves nothing and costs us something. What tells
//! flows apart is how far they got: an address that spoke again after it was answered hears us, and its flow is not
//! given up for a newcomer while it is in use. So a flood of invented addresses fights for the places of the others.
//!
//! ```text
//!   first datagram ──► unanswered ── from upstream ──► answered ── from the visitor ──► confirmed
//!   a newcomer may
//!   take its place     after 1 s quiet                 after 0.5 s                      after 10 s
//! ```
//! Pure: time comes in as an argument.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::time::Instant;

use crate::throttle::network;

/// How many flows there may be now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowLimits {
    /// In all.
    pub(crate) total: usize,
    /// From one address (IPv6: one /64).
    pub(crate) per_address: usize,
}

/// The flows of one port, each with a `T` that is dropped when the flow is over.
#[derive(Debug)]
pub(crate) struct FlowTable<T> {
    flows: HashMap<SocketAddr, Flow<T>>,
    sources: HashMap<IpAddr, Source>,
    last_id: u64,
    /// Until then nobody can be made to give a place up: a flood's datagrams are refused without a search.
    full_until: Option<Instant>,
}

/// Tells a flow from an earlier one of the same visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowId(u64);

/// How far a flow got. In the order in which they give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The visitor spoke.
    Unanswered,
    /// The upstream answered.
    Answered,
    /// The visitor spoke after that.
    Confirmed,
}

/// There is no place for a new flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug)]
struct Flow<T> {
    id: FlowId,
    value: T,
    stage: Stage,
    last: Instant,
}

#[derive(Debug, Default)]
struct Source {
    flows: usize,
    full_until: Option<Instant>,
}

impl Stage {
    /// How long a flow of this stage must have been quiet to lose its place to a newcomer.
    fn patience(self) -> Duration {
        match self {
            Self::Unanswered => Duration::from_secs(1),
            // Shorter: most are over, such as a question to a name server.
            Self::Answered => Duration::from_millis(500),
            Self::Confirmed => Duration::from_secs(10),
        }
    }
}

impl<T> FlowTable<T> {
    pub(crate) fn new() -> Self {
        Self { flows: HashMap::new(), sources: HashMap::new(), last_id: 0, full_until: None }
    }

    /// How many flows there are.
    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    /// A datagram came from `visitor`: its flow, if it has one.
    pub(crate) fn heard(&mut self, visitor: SocketAddr, now: Instant) -> Option<(&T, Stage)> {
        let flow = self.flows.get_mut(&visitor)?;
        flow.last = now;
        if flow.stage == Stage::Answered {
            flow.stage = Stage::Confirmed;
        }
        Some((&flow.value, flow.stage))
    }

    /// A datagram for `visitor` came from the upstream.
    pub(crate) fn answered(&mut self, visitor: SocketAddr, id: FlowId, now: Instant) {
        if let Some(flow) = self.flows.get_mut(&visitor).filter(|flow| flow.id == id) {
            flow.last = now;
            flow.stage = flow.stage.max(Stage::Answered);
        }
    }

    /// Makes room for a flow of `visitor`, who has none; if need be one that matters less is ended.
    ///
    /// # Errors
    /// [`Full`]: nobody gives way.
    pub(crate) fn make_room(
        &mut self,
        visitor: SocketAddr,
        limits: FlowLimits,
        now: Instant,
    ) -> Result<(), Full> {
        let address = network(visitor.ip());
        let here = self.sources.get(&address).map_or(0, |source| source.flows);
        if here >= limits.per_address {
            self.give_way(Some(address), now)
        } else if self.flows.len() >= limits.total {
            self.give_way(None, now)
        } else {
            Ok(())
        }
    }

    /// Begins a flow for `visitor`, for whom there is room.
    pub(crate) fn begin(&mut self, visitor: SocketAddr, value: T, now: Instant) -> FlowId {
        self.last_id += 1;
        let id = FlowId(self.last_id);
        self.remove(visitor);
        self.sources.entry(network(visitor.ip())).or_default().flows += 1;
        self.flows.insert(visitor, Flow { id, value, stage: Stage::Unanswered, last: now });
        id
    }

    /// A flow ended by itself.
    pub(crate) fn end(&mut self, visitor: SocketAddr, id: FlowId) {
        if self.flows.get(&visitor).is_some_and(|flow| flow.id == id) {
            self.remove(visitor);
        }
    }

    /// Ends the flows that have been quiet for so long.
    pub(crate) fn expire(&mut self, idle: Duration, now: Instant) {
        let quiet = |flow: &Flow<T>| now.saturating_duration_since(flow.last) >= idle;
        let over: Vec<_> =
            self.flows.iter().filter(|(_, flow)| quiet(flow)).map(|(visitor, _)| *visitor).collect();
        over.into_iter().for_each(|visitor| self.remove(visitor));
        if self.flows.is_empty() {
            // What a flood made it grow to is given back.
            (self.flows, self.sources) = (HashMap::new(), HashMap::new());
        }
    }

    /// Ends all flows.
    pub(crate) fn clear(&mut self) {
        self.flows.clear();
        self.sources.clear();
        self.full_until = None;
    }

    /// Ends the flow that matters least, of one source or of all.
    fn give_way(&mut self, only: Option<IpAddr>, now: Instant) -> Result<(), Full> {
        let full_until = match only {
            Some(address) => self.sources.get(&address).and_then(|source| source.full_until),
            None => self.full_until,
        };
        if full_until.is_some_and(|until| now < until) {
            return Err(Full);
        }
        let candidates = self.flows.iter().filter(|(visitor, _)| match only {
            Some(address) => network(visitor.ip()) == address,
            None => true,
        });
        let mut first_free: Option<Instant> = None;
        let mut least: Option<(Stage, Instant, SocketAddr)> = None;
        for (visitor, flow) in candidates {
            let free = flow.last + flow.stage.patience();
            if free <= now {
                let this = (flow.stage, flow.last, *visitor);
                least = Some(least.map_or(this, |least| least.min(this)));
            } else {
                first_free = Some(first_free.map_or(free, |first| first.min(free)));
            }
        }
        if let Some((_, _, visitor)) = least {
            self.remove(visitor);
            return Ok(());
        }
        match only.map(|address| self.sources.get_mut(&address)) {
            Some(Some(source)) => source.full_until = first_free,
            Some(None) => {}
            None => self.full_until = first_free,
        }
        Err(Full)
    }

    fn remove(&mut self, visitor: SocketAddr) {
        if self.flows.remove(&visitor).is_none() {
            return;
        }
        self.full_until = None;
        let address = network(visitor.ip());
        if let Some(source) = self.sources.get_mut(&address) {
            source.flows -= 1;
            source.full_until = None;
            if source.flows == 0 {
                self.sources.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests;
