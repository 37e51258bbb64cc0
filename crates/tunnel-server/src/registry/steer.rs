//! What the operator does to tunnels: closing one, and keeping visitors out of one for a while.

use tunnel_protocol::{Refusal, ServerMessage, TokenId};
use tunnel_router::PathPrefix;

use super::{Name, Phase, Registry, Table};
use crate::{events::Event, routes::Part};

impl Registry {
    /// Takes the tunnel at this address down, together with what is under way there, and tells its clients why. The
    /// name is free at once. `false` if there is none.
    pub(crate) fn close(&self, url: &str, refusal: &Refusal) -> bool {
        let mut table = self.lock();
        let Some(name) = table.find(url) else { return false };
        if let Some(entry) = table.entries.get(&name) {
            if let Phase::Live(members) = &entry.phase {
                for member in members {
                    let (session, tunnel) = (&member.target.session, member.target.tunnel);
                    session.send(ServerMessage::Unbound { tunnel, refusal: refusal.clone() });
                }
            }
            entry.endpoint.over.cancel();
        }
        self.remove(&mut table, &name);
        drop(table);
        self.shared.events.emit(Event::LeasesChanged);
        true
    }

    /// Keeps visitors out of what is at this address, or no longer, whatever becomes of its clients meanwhile. Without
    /// a path that is a host as a whole. `false` if nobody has anything there, and nothing there is paused.
    pub(crate) fn pause(&self, url: &str, paused: bool) -> bool {
        let mut table = self.lock();
        let found = match table.called(url) {
            Some((name, owner)) if paused => {
                table.pauses.add(&name, owner, url.to_owned());
                true
            }
            Some((name, owner)) => {
                table.pauses.lift(&name, owner);
                true
            }
            // Nobody holds it now.
            None => !paused && table.pauses.lift_at(url),
        };
        if !found {
            return false;
        }
        table.show_pauses();
        drop(table);
        self.shared.events.emit(Event::TunnelPaused { url: url.to_owned(), paused });
        self.shared.events.emit(Event::LeasesChanged);
        true
    }

    /// The addresses of all tunnels that are paused, also those that nobody holds now.
    pub(crate) fn paused(&self) -> Vec<String> {
        self.lock().pauses.urls().cloned().collect()
    }
}

impl Table {
    /// Tells all endpoints what of them is paused.
    pub(super) fn show_pauses(&self) {
        for (name, entry) in &self.entries {
            entry.endpoint.set_paused(self.pauses.of(name, entry.owner.token));
        }
    }

    /// What has this address, and whose it is: a name that is taken, or the host as a whole if a path of it is.
    fn called(&self, url: &str) -> Option<(Name, TokenId)> {
        if let Some(name) = self.find(url) {
            let owner = self.entries.get(&name)?.owner.token;
            return Some((name, owner));
        }
        self.entries.iter().find_map(|(name, entry)| match name {
            Name::Host(host, Part::Http(path)) => {
                let is_its_host = entry.endpoint.address.url().strip_prefix(url) == Some(path.as_str());
                is_its_host.then(|| (Name::web(host.clone(), PathPrefix::root()), entry.owner.token))
            }
            _ => None,
        })
    }

    fn find(&self, url: &str) -> Option<Name> {
        let mut entries = self.entries.iter();
        entries.find(|(_, entry)| entry.endpoint.address.url() == url).map(|(name, _)| name.clone())
    }
}
