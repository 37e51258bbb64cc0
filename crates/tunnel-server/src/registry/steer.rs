//! What the operator does to tunnels: closing one, and keeping visitors out of one for a while.

use tunnel_protocol::{Refusal, ServerMessage, TokenId};

use super::{Name, Phase, Registry, Table};
use crate::events::Event;

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

    /// Keeps visitors out of the tunnel at this address, or no longer, whatever becomes of its clients meanwhile.
    /// `false` if there is none.
    pub(crate) fn pause(&self, url: &str, paused: bool) -> bool {
        let mut table = self.lock();
        let name = table.find(url);
        if let Some((name, entry)) = name.and_then(|name| Some((name.clone(), table.entries.get(&name)?))) {
            entry.endpoint.set_paused(paused);
            let (key, url) = ((name, entry.owner.token), url.to_owned());
            if paused {
                table.paused.insert(key, url);
            } else {
                table.paused.remove(&key);
            }
        } else if !paused {
            // Nobody holds it now.
            let before = table.paused.len();
            table.paused.retain(|_, paused| paused != url);
            if table.paused.len() == before {
                return false;
            }
        } else {
            return false;
        }
        drop(table);
        self.shared.events.emit(Event::TunnelPaused { url: url.to_owned(), paused });
        self.shared.events.emit(Event::LeasesChanged);
        true
    }

    /// The addresses of all tunnels that are paused, also those that nobody holds now.
    pub(crate) fn paused(&self) -> Vec<String> {
        self.lock().paused.values().cloned().collect()
    }
}

impl Table {
    /// Whether the operator has paused this name for as long as this token has it.
    pub(super) fn is_paused(&self, name: &Name, owner: TokenId) -> bool {
        !self.paused.is_empty() && self.paused.contains_key(&(name.clone(), owner))
    }

    fn find(&self, url: &str) -> Option<Name> {
        let mut entries = self.entries.iter();
        entries.find(|(_, entry)| entry.endpoint.address.url() == url).map(|(name, _)| name.clone())
    }
}
