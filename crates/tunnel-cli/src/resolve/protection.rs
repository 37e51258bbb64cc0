//! From the flags that protect a server to its settings.

use tunnel_server::Config;

use crate::{
    args::{MemoryBudget, ProtectionArgs},
    machine::Machine,
};

impl ProtectionArgs {
    pub(crate) fn resolve(self, config: &mut Config) {
        let limits = &mut config.limits;
        for (limit, wanted) in [
            (&mut limits.connections_per_address, self.max_connections_per_address),
            (&mut limits.requests_per_address, self.max_requests_per_address),
            (&mut limits.waiting_per_address, self.max_waiting_per_address),
        ] {
            if let Some(wanted) = wanted {
                *limit = usize::try_from(wanted).unwrap_or(usize::MAX);
            }
        }
        limits.connection_rate_per_address = self.connection_rate_per_address.0;
        limits.request_rate_per_address = self.request_rate_per_address.0;
        limits.memory = match self.memory_budget {
            MemoryBudget::Auto => Machine::find().map(|machine| machine.sensible_budget()),
            MemoryBudget::Bytes(bytes) => bytes,
        };
        config.interstitial = self.interstitial;
        config.abuse_contact = self.abuse_contact;
    }
}
