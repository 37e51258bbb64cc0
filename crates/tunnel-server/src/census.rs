//! How many tunnels are in which state: for those who count tunnels, and need to know nothing else of each.

use std::collections::BTreeMap;

use crate::{
    control::Control, endpoint::Endpoint, registry::Member, rights::TunnelKind, tally::UpstreamState,
};

/// How a tunnel is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TunnelState {
    /// A client serves it.
    Up,
    /// Its client isn't there; the name is held for it.
    Away,
    /// The operator keeps visitors out.
    Paused,
    /// No upstream of it could be reached when a visitor last wanted to.
    Failing,
}

impl TunnelState {
    /// The word, in lower case: for lists and labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Away => "away",
            Self::Paused => "paused",
            Self::Failing => "failing",
        }
    }

    pub(crate) fn of(endpoint: &Endpoint, members: &[Member]) -> Self {
        let is_failing =
            |member: &Member| matches!(member.target.reach.state(), UpstreamState::Failing { .. });
        match members {
            _ if endpoint.is_paused() => Self::Paused,
            [] => Self::Away,
            members if members.iter().all(is_failing) => Self::Failing,
            _ => Self::Up,
        }
    }
}

/// Tunnels by kind and state.
pub(crate) fn take(control: &Control) -> BTreeMap<(TunnelKind, TunnelState), usize> {
    let mut census = BTreeMap::new();
    control.registry.for_each(|endpoint, members| {
        let key = (TunnelKind::at(&endpoint.address), TunnelState::of(endpoint, members));
        *census.entry(key).or_default() += 1;
    });
    census
}
