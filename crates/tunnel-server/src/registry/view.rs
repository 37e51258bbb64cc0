//! The table as whoever only looks sees it: handles that are taken in a moment, and read once the table is free again.

use std::sync::Arc;

use super::{Holder, Member, Phase, Registry};
use crate::endpoint::Endpoint;

/// One name at one moment.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) endpoint: Arc<Endpoint>,
    /// Who holds or held it, of a pool the first.
    pub(crate) holder: Holder,
    /// Who serves it.
    pub(crate) members: Vec<Member>,
}

impl Registry {
    /// Every name.
    pub(crate) fn views(&self) -> Vec<View> {
        let table = self.lock();
        let view = |(endpoint, holder, members): (&Arc<Endpoint>, &Holder, &[Member])| View {
            endpoint: endpoint.clone(),
            holder: holder.clone(),
            members: members.to_vec(),
        };
        table.entries.values().map(|entry| view(entry.seen())).collect()
    }

    /// Shows every name, while all claims wait: for what reads a few numbers and allocates nothing.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&Endpoint, &[Member])) {
        for entry in self.lock().entries.values() {
            let (endpoint, _, members) = entry.seen();
            look(endpoint, members);
        }
    }
}

impl super::Entry {
    fn seen(&self) -> (&Arc<Endpoint>, &Holder, &[Member]) {
        match &self.phase {
            Phase::Live(members) => (&self.endpoint, &members[0].holder, members),
            Phase::Held { by, .. } | Phase::Released { by, .. } => (&self.endpoint, by, &[]),
        }
    }
}
