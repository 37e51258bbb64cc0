//! What the operator keeps visitors out of.
//!
//! Pauses are kept by what is closed and by its owner, and not by tunnel: whoever is paused may take the tunnel down
//! and publish the same host in another form. A URL without a path stands for its host as a whole, with all paths and
//! its TLS connections; one with a path for that path and what is below it, whichever tunnel of the host leads there.

use std::collections::HashMap;

use tunnel_protocol::TokenId;
use tunnel_router::PathPrefix;

use super::Name;
use crate::{endpoint::Paused, routes::Part};

/// All pauses, whether the names are taken just now or not, with the URL that the operator gave.
#[derive(Debug, Default)]
pub(super) struct Pauses(HashMap<(Name, TokenId), String>);

impl Pauses {
    /// Keeps visitors out of this name and what is below it for as long as `owner` has it.
    pub(super) fn add(&mut self, name: &Name, owner: TokenId, url: String) {
        self.0.insert((name.whole(), owner), url);
    }

    /// Lifts whatever keeps visitors out of all of this name: its own pause, and those of more than it. They can't be
    /// lifted for a part only.
    pub(super) fn lift(&mut self, name: &Name, owner: TokenId) {
        self.0.retain(|(what, token), _| *token != owner || !what.covers(name));
    }

    /// Lifts what was paused by this URL, whoever it belongs to. `false` if nothing was.
    pub(super) fn lift_at(&mut self, url: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|_, paused| paused != url);
        self.0.len() < before
    }

    /// How much of a name is paused.
    pub(super) fn of(&self, name: &Name, owner: TokenId) -> Paused {
        let mut paths = Vec::new();
        for (what, _) in self.0.keys().filter(|(_, token)| *token == owner) {
            if what.covers(name) {
                return Paused::All;
            }
            paths.extend(what.path().filter(|_| name.covers(what)).cloned());
        }
        if paths.is_empty() { Paused::No } else { Paused::Below(paths) }
    }

    /// The paths that are paused of this name's host, in order; the root stands for the whole host.
    pub(super) fn of_host(&self, name: &Name, owner: TokenId) -> Vec<&PathPrefix> {
        let is_it =
            |what: &Name, token| token == owner && name.host().is_some() && what.host() == name.host();
        let mut paths: Vec<_> = self
            .0
            .keys()
            .filter(|(what, token)| is_it(what, *token))
            .filter_map(|(what, _)| what.path())
            .collect();
        paths.sort();
        paths
    }

    pub(super) fn urls(&self) -> impl Iterator<Item = &String> {
        self.0.values()
    }
}

impl Name {
    /// What is paused with it: a TLS tunnel has no paths and stands for its host.
    fn whole(&self) -> Self {
        match self {
            Self::Host(host, Part::Tls) => Self::web(host.clone(), PathPrefix::root()),
            name => name.clone(),
        }
    }

    /// Whether all of `other` is this, or below it.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host(host, Part::Http(path)), Self::Host(others, part)) if host == others => match part {
                Part::Http(below) => path.matches(below.as_str()),
                Part::Tls => path.is_root(),
            },
            _ => self == other,
        }
    }

    fn path(&self) -> Option<&PathPrefix> {
        match self {
            Self::Host(_, Part::Http(path)) => Some(path),
            _ => None,
        }
    }
}
