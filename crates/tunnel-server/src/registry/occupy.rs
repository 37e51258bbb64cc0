//! Putting somebody in at a name that is theirs to have.

use std::sync::Arc;

use tokio::time::Instant;
use tunnel_protocol::{Code, Refusal, ServerMessage, bind::PublicAddress};

use super::{
    Claim, ClaimError, Entry, Holder, Member, Name, Phase, Registry, Table,
    pool::{self, Terms},
};
use crate::{
    auth::Identity,
    endpoint::{Endpoint, State},
    ingress::{tcp, udp},
    tally::Tally,
};

impl Registry {
    /// Lets a session serve a name, which `check` has found to be free for it. Whoever waits at it goes on if the owner
    /// is the same.
    pub(super) fn serve_by(
        self: &Arc<Self>,
        table: &mut Table,
        name: &Name,
        claim: &Claim,
        terms: Terms,
        (member, tally): (Member, Arc<Tally>),
    ) -> Result<Arc<Endpoint>, ClaimError> {
        let owner = &claim.session.identity;
        let own = table.entries.get_mut(name).filter(|entry| entry.owner.token == owner.token);
        if let Some(entry) = own.filter(|entry| entry.is_open(name)) {
            let former = match std::mem::replace(&mut entry.phase, Phase::Live(Vec::new())) {
                Phase::Live(members) => members,
                Phase::Held { .. } | Phase::Released { .. } => Vec::new(),
            };
            let (leaving, mut members): (Vec<_>, Vec<_>) = former.into_iter().partition(|other| {
                claim.is_instead_of(other) || !pool::is_shared(other, &entry.terms, &member, &terms)
            });
            for other in leaving.iter().filter(|other| !claim.is_instead_of(other)) {
                tell_taken_over(other, &entry.endpoint, &member.holder);
            }
            members.push(member);
            entry.terms = terms;
            entry.owner = owner.clone();
            entry.is_fleeting = claim.is_fleeting;
            entry.is_left = false;
            entry.endpoint.set_state(live(&members));
            entry.phase = Phase::Live(members);
            return Ok(entry.endpoint.clone());
        }
        let members = vec![member];
        let state = (live(&members), Phase::Live(members), tally);
        self.open(table, name, (owner, terms, claim.is_fleeting), state)
    }

    /// Keeps a free name for its owner, who is away.
    pub(super) fn hold(
        self: &Arc<Self>,
        table: &mut Table,
        name: &Name,
        (owner, terms, is_fleeting): (&Identity, Terms, bool),
        (until, by): (Instant, Holder),
    ) -> Result<(), ClaimError> {
        let tally = self.tally(table, name, owner.token);
        let state = (State::Away { until }, Phase::Held { until, by }, tally);
        self.open(table, name, (owner, terms, is_fleeting), state).map(|_| ())
    }

    /// Makes an endpoint at a name and shows visitors the way to it.
    fn open(
        self: &Arc<Self>,
        table: &mut Table,
        name: &Name,
        (owner, terms, is_fleeting): (&Identity, Terms, bool),
        (state, phase, tally): (State, Phase, Arc<Tally>),
    ) -> Result<Arc<Endpoint>, ClaimError> {
        for other in self.of_strangers(table, name, owner.token) {
            self.remove(table, &other);
        }
        self.remove(table, name);
        let address = self.address(name);
        let counted = (tally, self.shared.stopping.child_token());
        let endpoint = Endpoint::new(address, owner.clone(), self.shared.waiting.clone(), state, counted);
        endpoint.set_paused(table.pauses.of(name, owner.token));
        let opened = match name {
            Name::Host(host, part) => {
                self.shared.routes.publish(host, part.clone(), endpoint.clone());
                Ok(None)
            }
            Name::Tcp(port) => tcp::open(&self.shared, *port, endpoint.clone()).map(Some),
            Name::Udp(port) => udp::open(&self.shared, *port, endpoint.clone()).map(Some),
        };
        let port =
            opened.map_err(|source| ClaimError::Port { port: name.port().unwrap_or_default(), source })?;
        let opened = table.next_generation();
        let owner = owner.clone();
        let entry = Entry {
            owner,
            terms,
            phase,
            endpoint: endpoint.clone(),
            port,
            is_fleeting,
            is_left: false,
            opened,
        };
        table.entries.insert(name.clone(), entry);
        Ok(endpoint)
    }
}

impl Registry {
    /// Where visitors find a name.
    pub(super) fn address(&self, name: &Name) -> PublicAddress {
        name.address(&self.shared, self.shared.config().public_port.unwrap_or(self.web_port))
    }
}

impl Entry {
    /// Whether visitors still find this entry's endpoint: a port in quarantine has been closed.
    fn is_open(&self, name: &Name) -> bool {
        name.port().is_none() || self.port.is_some()
    }
}

/// What an endpoint is told of who serves it.
pub(super) fn live(members: &[Member]) -> State {
    State::Live(members.iter().map(|member| member.target.clone()).collect())
}

/// The former session of the same owner hears that it serves the name no longer. It may be half-dead and never
/// hear it; nothing waits for it.
fn tell_taken_over(former: &Member, endpoint: &Endpoint, by: &Holder) {
    let message = format!(
        "{} was taken over by another client with the same token, on `{}`",
        endpoint.address.url(),
        by.machine
    );
    let refusal = Refusal::permanent(Code::TakenOver, message);
    former.target.session.send(ServerMessage::Unbound { tunnel: former.target.tunnel, refusal });
}
