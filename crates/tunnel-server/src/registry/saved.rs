//! Leases that outlive the server's process: a restarted server still knows whose name is whose.

use std::{ops::RangeInclusive, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tunnel_protocol::{InstanceId, TokenId};
use tunnel_router::Label;

use super::{Holder, Name, Phase, Registry};
use crate::{auth::Identity, endpoint::State};

/// One name and its owner, in the form the operator's shell keeps on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLease {
    /// The subdomain, for web tunnels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// The port, for TCP tunnels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The port, for UDP tunnels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp_port: Option<u16>,
    /// The owner's token.
    pub token: TokenId,
    /// The token's name.
    pub name: String,
    /// The owner's installation.
    pub instance: InstanceId,
    /// The owner's machine.
    pub machine: String,
}

impl Registry {
    /// Every lease worth keeping over a restart: those that are live or held.
    pub(crate) fn export(&self) -> Vec<SavedLease> {
        let table = self.lock();
        let kept = table.entries.iter().filter(|(_, entry)| !matches!(entry.phase, Phase::Released { .. }));
        let mut saved: Vec<_> = kept
            .map(|(name, entry)| {
                let (subdomain, port, udp_port) = match name {
                    Name::Http(label) => (Some(label.as_str().to_owned()), None, None),
                    Name::Tcp(port) => (None, Some(*port), None),
                    Name::Udp(port) => (None, None, Some(*port)),
                };
                SavedLease {
                    subdomain,
                    port,
                    udp_port,
                    token: entry.holder.identity.token,
                    name: entry.holder.identity.name.to_string(),
                    instance: entry.holder.instance,
                    machine: entry.holder.machine.clone(),
                }
            })
            .collect();
        saved.sort_by(|a, b| (&a.subdomain, a.port, a.udp_port).cmp(&(&b.subdomain, b.port, b.udp_port)));
        saved
    }

    /// Takes saved leases in, held for their owners from now on. One that makes no sense any more (a port outside
    /// the range, taken by another program) is left out.
    pub(crate) fn import(self: &Arc<Self>, saved: Vec<SavedLease>) {
        let until = Instant::now() + self.shared.config.timeouts.lease;
        let mut table = self.lock();
        for lease in saved {
            let config = &self.shared.config;
            let within = |ports: &Option<RangeInclusive<u16>>, port: u16| {
                ports.as_ref().is_some_and(|ports| ports.contains(&port)).then_some(port)
            };
            let name = match (&lease.subdomain, lease.port, lease.udp_port) {
                (Some(subdomain), None, None) => Label::parse(subdomain).ok().map(Name::Http),
                (None, Some(port), None) => within(&config.tcp_ports, port).map(Name::Tcp),
                (None, None, Some(port)) => within(&config.udp_ports, port).map(Name::Udp),
                _ => None,
            };
            let Some(name) = name else { continue };
            let holder = Holder {
                identity: Identity { token: lease.token, name: lease.name.into() },
                instance: lease.instance,
                machine: lease.machine,
                since: SystemTime::now(),
            };
            if let Err(error) =
                self.occupy(&mut table, &name, holder, Phase::Held { until }, State::Away { until })
            {
                tracing::warn!(?name, %error, "a saved lease can't be restored");
            }
        }
    }
}
