//! Rights to give or to take.

use std::time::SystemTime;

use tunnel_server::{HostPattern, LabelPattern, PortSet, Rights, TunnelKind};

use crate::error::WriteError;

/// What becomes of one right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is no longer bounded.
    Lift,
    /// It is this from now on.
    Set(T),
}

/// What becomes of a token's rights. The default changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Subdomains to give.
    pub give_subdomains: Vec<LabelPattern>,
    /// Subdomains to take, as they are listed.
    pub take_subdomains: Vec<LabelPattern>,
    /// Domains to give.
    pub give_domains: Vec<HostPattern>,
    /// Domains to take, as they are listed.
    pub take_domains: Vec<HostPattern>,
    /// Which kinds of tunnels.
    pub kinds: Change<Vec<TunnelKind>>,
    /// Which ports for TCP tunnels.
    pub tcp_ports: Change<PortSet>,
    /// Which ports for UDP tunnels.
    pub udp_ports: Change<PortSet>,
    /// How many tunnels.
    pub max_tunnels: Change<u32>,
    /// How many visitors at once.
    pub max_connections: Change<u32>,
    /// How many bytes a second, each way.
    pub bandwidth: Change<u64>,
    /// How many bytes a month.
    pub monthly_bytes: Change<u64>,
    /// Until when.
    pub expires: Change<SystemTime>,
}

impl<T: Clone> Change<T> {
    fn apply(&self, right: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Lift => *right = None,
            Self::Set(value) => *right = Some(value.clone()),
        }
    }
}

impl Changes {
    /// Makes the changes to the rights of the token `name`.
    ///
    /// # Errors
    /// [`WriteError::NoRight`] if there is nothing to take: what was meant would stay. [`WriteError::LastRight`] if
    /// taking would give.
    pub(crate) fn apply(&self, name: &str, rights: &mut Rights) -> Result<(), WriteError> {
        let was_restricted = rights.is_restricted();
        take(&mut rights.subdomains, &self.take_subdomains, name)?;
        take(&mut rights.domains, &self.take_domains, name)?;
        self.give(rights);
        if was_restricted && !rights.is_restricted() {
            return Err(WriteError::LastRight(name.into()));
        }
        Ok(())
    }

    /// What a new token may do by what is given here.
    pub fn rights(&self) -> Rights {
        let mut rights = Rights::default();
        self.give(&mut rights);
        rights
    }

    fn give(&self, rights: &mut Rights) {
        give(&mut rights.subdomains, &self.give_subdomains);
        give(&mut rights.domains, &self.give_domains);
        match &self.kinds {
            Change::Keep => {}
            Change::Lift => rights.kinds.clear(),
            Change::Set(kinds) => {
                rights.kinds.clone_from(kinds);
                rights.kinds.sort();
                rights.kinds.dedup();
            }
        }
        self.tcp_ports.apply(&mut rights.tcp_ports);
        self.udp_ports.apply(&mut rights.udp_ports);
        self.max_tunnels.apply(&mut rights.max_tunnels);
        self.max_connections.apply(&mut rights.max_connections);
        self.bandwidth.apply(&mut rights.bandwidth);
        self.monthly_bytes.apply(&mut rights.monthly_bytes);
        self.expires.apply(&mut rights.expires);
    }
}

fn give<T: Clone + PartialEq>(has: &mut Vec<T>, given: &[T]) {
    for one in given {
        if !has.contains(one) {
            has.push(one.clone());
        }
    }
}

fn take<T: PartialEq + ToString>(has: &mut Vec<T>, taken: &[T], token: &str) -> Result<(), WriteError> {
    for one in taken {
        let at = has
            .iter()
            .position(|has| has == one)
            .ok_or_else(|| WriteError::NoRight { token: token.into(), name: one.to_string() })?;
        has.remove(at);
    }
    Ok(())
}
