//! Tunnels of one client that want each other's names.
//!
//! An edit of the file may give one tunnel the name of another that is itself to have a third one, and the server says
//! no to whoever asks for a name that isn't left yet. Such a one waits for its turn. Where each waits for the next, all
//! the way round, one leaves its name first: its visitors wait at it, as they do for a client that restarts, until the
//! next tunnel has it.
//!
//! So it is with several that share a name and are all to treat visitors otherwise from now on: whoever asks first
//! doesn't fit in with the others as they are. All but one leave, and come back to that one.

use std::collections::BTreeSet;

use tunnel_client::{BindError, Code};

use super::{Fleet, Member};
use crate::resolve::client::{Publish, TunnelPlan};

/// A tunnel that was refused a name which another one of this client had.
pub(super) struct Waiting {
    /// As it is wanted.
    pub(super) plan: TunnelPlan,
    /// What the server said.
    pub(super) refusal: BindError,
    /// How many names had been left when it asked.
    pub(super) departures: u64,
}

/// What becomes of one that waited.
enum Turn {
    /// The name is left, or may be.
    Now,
    /// All wait for each other: this one leaves its name.
    After(String),
    /// Whoever has the name keeps it, or isn't one of ours.
    Never,
}

/// Whether somebody has what was asked for.
pub(super) fn is_taken(error: &BindError) -> bool {
    matches!(error, BindError::Refused(refusal) if matches!(refusal.code, Code::NameTaken | Code::PortTaken))
}

impl Fleet {
    /// Whether a tunnel that asked for a taken name, when so many had been left, may have it yet.
    pub(super) fn may_have_a_turn(&self, name: &str, plan: &TunnelPlan, departures: u64) -> bool {
        departures != self.departures || self.holders(name, &plan.publish).next().is_some()
    }

    /// Has those that wait ask again, or refuses them, as far as that is known by now.
    pub(super) fn take_turns(&mut self) {
        while let Some((name, turn)) = self.next_turn() {
            if let Turn::After(first) = &turn
                && let Some((_, tunnel)) = self.members.get_mut(first).and_then(|first| first.now.take())
            {
                self.retire(tunnel);
            }
            let Some(Waiting { plan, refusal, .. }) =
                self.members.get_mut(&name).and_then(|member| member.waits.take())
            else {
                return;
            };
            match turn {
                Turn::Never => self.refused(&name, refusal),
                Turn::Now | Turn::After(_) => self.ask(&name, plan),
            }
        }
    }

    fn next_turn(&self) -> Option<(String, Turn)> {
        self.members.keys().find_map(|name| Some((name.clone(), self.turn(name)?)))
    }

    /// `None` for one that doesn't wait, or isn't done with that.
    fn turn(&self, name: &str) -> Option<Turn> {
        let waiting = self.members.get(name)?.waits.as_ref()?;
        let wanted = &waiting.plan;
        let is_staying = |(_, holder): &(&str, &Member)| match &holder.waits {
            None => true,
            // It wants the same name still, and on other terms.
            Some(other) => {
                wanted.publish.is_for_the_same_as(&other.plan.publish) && !wanted.shares_with(&other.plan)
            }
        };
        let fits = |(_, holder): &(&str, &Member)| {
            holder.now.as_ref().is_some_and(|(plan, _)| wanted.shares_with(plan))
        };
        let holders: Vec<_> = self.holders(name, &wanted.publish).collect();
        let may_be_left = waiting.departures != self.departures && holders.iter().all(fits);
        match holders[..] {
            _ if holders.iter().any(|(_, holder)| holder.asked.is_some()) => None,
            _ if may_be_left => Some(Turn::Now),
            [] => Some(Turn::Never),
            _ if holders.iter().any(is_staying) => Some(Turn::Never),
            [(first, _), ..] if self.is_in_circle(name) => Some(Turn::After(first.to_owned())),
            // Its holder's turn says what becomes of this one.
            _ => None,
        }
    }

    /// Whether who waits for a name waits for itself in the end.
    fn is_in_circle(&self, name: &str) -> bool {
        let (mut at, mut seen) = (name, BTreeSet::new());
        while let Some(waiting) = self.members.get(at).and_then(|member| member.waits.as_ref())
            && let Some((holder, _)) = self.holders(at, &waiting.plan.publish).next()
        {
            if holder == name {
                return true;
            }
            // A circle, but without it.
            if !seen.insert(holder) {
                return false;
            }
            at = holder;
        }
        false
    }

    /// Which other tunnels of this client have what one wants: one, or those that share it.
    fn holders(&self, name: &str, wanted: &Publish) -> impl Iterator<Item = (&str, &Member)> {
        let has = |member: &Member| {
            let Some((plan, tunnel)) = &member.now else { return false };
            plan.publish.has(tunnel.address().as_ref(), wanted)
        };
        let others = self.members.iter().filter(move |(other, _)| *other != name);
        others.map(|(other, member)| (other.as_str(), member)).filter(move |(_, member)| has(member))
    }
}
