//! Leases that outlive the server's process: a restarted server still knows whose name is whose.

use std::{ops::RangeInclusive, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tunnel_protocol::{InstanceId, TokenId, bind::UpstreamProtocol};
use tunnel_router::{HostPattern, Hostname, Label, PathPrefix};

use super::{Holder, Name, Phase, Registry, pool::Terms};
use crate::{
    auth::Identity,
    config::Config,
    endpoint::{Paused, State},
    events::Event,
    routes::Part,
    succession::PortSocket,
};

/// One name and its owner, in the form the operator's shell keeps on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLease {
    /// The subdomain, for tunnels of a name right below the server's domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// The whole host or wildcard, for tunnels of any other name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The paths of a web tunnel, if it hasn't all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether the name is that of a TLS tunnel; a web tunnel's otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// The port, for TCP tunnels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The port, for UDP tunnels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp_port: Option<u16>,
    /// Whether a pool of clients served it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pool: bool,
    /// Whether nobody was told of it, as of the port of `tunnel doctor`: over an upgrade it is kept for the client,
    /// which is still there, and over a restart for nobody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fleeting: bool,
    /// Whether the operator keeps visitors out of all of it for now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// The paths of its host that the operator keeps visitors out of, `/` for the whole of it. Empty of a host with
    /// `paused`, by an older server: it was paused by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paused_paths: Vec<String>,
    /// The owner's token.
    pub token: TokenId,
    /// The token's name.
    pub name: String,
    /// The owner's installation; of a pool, one of them.
    pub instance: InstanceId,
    /// The owner's machine; of a pool, one of them.
    pub machine: String,
}

impl Registry {
    /// The sockets of all open ports. One that can't be shared is opened anew by whoever needs it, once it is closed
    /// here.
    pub(crate) fn share_ports(&self) -> Vec<PortSocket> {
        let table = self.lock();
        let ports = table.entries.iter().filter_map(|(name, entry)| Some((name, entry.port.as_ref()?)));
        let shared = ports.filter_map(|(name, port)| {
            let shared = port.share();
            shared
                .inspect_err(|error| tracing::warn!(?name, %error, "a port can't be passed on"))
                .ok()
                .flatten()
        });
        shared.collect()
    }

    /// Every lease worth keeping over a restart: those that are live or held.
    pub(crate) fn export(&self) -> Vec<SavedLease> {
        let config = self.shared.config();
        let table = self.lock();
        let kept = table.entries.iter().filter_map(|(name, entry)| {
            let holder = match &entry.phase {
                Phase::Live(members) => &members[0].holder,
                Phase::Held { by, .. } => by,
                Phase::Released { .. } => return None,
            };
            let owner = entry.owner.token;
            let mut saved = SavedLease {
                subdomain: None,
                domain: None,
                path: None,
                tls: false,
                port: None,
                udp_port: None,
                pool: entry.terms.pool,
                fleeting: entry.is_fleeting,
                paused: table.pauses.of(name, owner) == Paused::All,
                paused_paths: table.pauses.of_host(name, owner).iter().map(ToString::to_string).collect(),
                token: owner,
                name: entry.owner.name.to_string(),
                instance: holder.instance,
                machine: holder.machine.to_string(),
            };
            saved.set_name(name, &config);
            Some(saved)
        });
        let mut saved: Vec<_> = kept.collect();
        saved.sort_by(|a, b| a.key().cmp(&b.key()));
        saved
    }

    /// Takes saved leases in, held for their owners from now on. One that makes no sense any more (a port outside
    /// the range, taken by another program) is left out.
    pub(crate) fn import(self: &Arc<Self>, saved: Vec<SavedLease>) {
        let config = self.shared.config();
        let now = Instant::now();
        let mut table = self.lock();
        for lease in saved {
            let Some(name) = lease.name(&config) else { continue };
            let timeouts = &config.timeouts;
            let until = now + if lease.fleeting { timeouts.hold } else { timeouts.lease };
            let owner = Identity { token: lease.token, name: lease.name.into(), generation: 0 };
            if !self.of_strangers(&table, &name, owner.token).is_empty() {
                tracing::warn!(?name, "a saved lease contradicts another one");
                continue;
            }
            let terms =
                Terms { pool: lease.pool, protocol: UpstreamProtocol::default(), policies: Arc::default() };
            let machine = lease.machine.into();
            let holder = Holder { instance: lease.instance, machine, since: SystemTime::now() };
            let owned = (&owner, terms, lease.fleeting);
            if let Err(error) = self.hold(&mut table, &name, owned, (until, holder)) {
                tracing::warn!(?name, %error, "a saved lease can't be restored");
                continue;
            }
            let paused = lease.paused_paths.iter().filter_map(|path| {
                Some(Name::web(name.host()?.clone(), PathPrefix::parse(path).ok()?)) // or it was tampered with
            });
            let paused: Vec<_> =
                paused.chain((lease.paused && lease.paused_paths.is_empty()).then(|| name.clone())).collect();
            for name in paused {
                let url = self.address(&name).url().to_owned();
                table.pauses.add(&name, owner.token, url);
            }
        }
        table.show_pauses();
    }

    /// Which of these, exported before, are neither live nor held any more.
    pub(crate) fn given_up(&self, exported: &[SavedLease]) -> Vec<SavedLease> {
        // In the order of their keys.
        let held = self.export();
        let is_held = |lease: &&SavedLease| {
            let found = held.binary_search_by(|held| held.key().cmp(&lease.key()));
            found.is_ok_and(|place| held[place].token == lease.token)
        };
        exported.iter().filter(|lease| !is_held(lease)).cloned().collect()
    }

    /// Lets go of imported leases whose owners have left in good order since they were exported. What a client serves
    /// here is its own.
    pub(crate) fn give_up(&self, saved: &[SavedLease]) {
        let config = self.shared.config();
        let until = Instant::now() + config.timeouts.hold;
        let mut table = self.lock();
        for lease in saved {
            let Some(name) = lease.name(&config) else { continue };
            let own = table.entries.get_mut(&name).filter(|entry| entry.owner.token == lease.token);
            let Some(entry) = own else { continue };
            let Phase::Held { by, .. } = &entry.phase else { continue };
            if entry.is_fleeting {
                self.remove(&mut table, &name);
                continue;
            }
            let by = by.clone();
            entry.release(&name, (until, &config.timeouts), false, by);
            entry.endpoint.set_state(State::Away { until });
        }
        drop(table);
        self.shared.events.emit(Event::LeasesChanged);
    }
}

impl SavedLease {
    fn set_name(&mut self, name: &Name, config: &Config) {
        match name {
            Name::Host(host, part) => {
                let label = match host {
                    HostPattern::Exact(name) => name.label_under(&config.domain),
                    HostPattern::Wildcard(_) => None,
                };
                match label {
                    Some(label) => self.subdomain = Some(label.to_string()),
                    None => self.domain = Some(host.to_string()),
                }
                match part {
                    Part::Http(path) => self.path = (!path.is_root()).then(|| path.to_string()),
                    Part::Tls => self.tls = true,
                }
            }
            Name::Tcp(port) => self.port = Some(*port),
            Name::Udp(port) => self.udp_port = Some(*port),
        }
    }

    fn name(&self, config: &Config) -> Option<Name> {
        let within = |ports: &Option<RangeInclusive<u16>>, port: u16| {
            ports.as_ref().is_some_and(|ports| ports.contains(&port)).then_some(port)
        };
        let host = match (&self.subdomain, &self.domain, self.port, self.udp_port) {
            (Some(subdomain), None, None, None) => {
                let label = Label::parse(subdomain).ok()?;
                HostPattern::Exact(Hostname::under(&label, &config.domain).ok()?)
            }
            (None, Some(domain), None, None) => HostPattern::parse(domain).ok()?,
            (None, None, Some(port), None) => return within(&config.tcp_ports, port).map(Name::Tcp),
            (None, None, None, Some(port)) => return within(&config.udp_ports, port).map(Name::Udp),
            _ => return None,
        };
        match (self.tls, &self.path) {
            (true, None) => Some(Name::Host(host, Part::Tls)),
            (false, path) => Some(Name::web(host, PathPrefix::parse(path.as_deref().unwrap_or("/")).ok()?)),
            (true, Some(_)) => None,
        }
    }

    fn key(&self) -> impl Ord {
        (&self.subdomain, &self.domain, &self.path, self.tls, self.port, self.udp_port)
    }
}
