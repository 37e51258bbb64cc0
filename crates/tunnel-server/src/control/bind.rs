//! From a wish (`Bind`) to a lease, and back.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use tracing::info;
use tunnel_protocol::{
    BindSpec, Code, Policy, Refusal, ServerMessage, TunnelId,
    bind::{HostSpec, HttpSpec, PortSpec},
};
use tunnel_router::Label;

use super::Control;
use crate::{
    config::Config,
    ids,
    policy::Policies,
    registry::{Claim, ClaimError, Lease, Name},
    session::Session,
};

/// How many random names or ports are tried before the server says that there is none.
const RANDOM_TRIES: u32 = 64;

/// What a client asks for.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) spec: BindSpec,
    pub(super) policies: Vec<Policy>,
    /// Where the client forwards to, for people.
    pub(super) upstream: String,
    pub(super) report_requests: bool,
}

/// The tunnels of one session.
#[derive(Debug)]
pub(super) struct Binds<'a> {
    control: &'a Control,
    session: &'a Arc<Session>,
    leases: HashMap<TunnelId, Lease>,
}

impl<'a> Binds<'a> {
    pub(super) fn new(control: &'a Control, session: &'a Arc<Session>) -> Self {
        Self { control, session, leases: HashMap::new() }
    }

    /// Publishes what the client wishes for and tells it where, or why not.
    pub(super) fn bind(&mut self, tunnel: TunnelId, wish: Wish) {
        let Wish { spec, policies, upstream, report_requests } = wish;
        let bound = self.check(tunnel).and_then(|()| {
            let policies = Arc::new(Policies::compile(policies, &spec)?);
            let claim = Claim {
                session: self.session.clone(),
                tunnel,
                upstream: upstream.chars().filter(|c| !c.is_control()).take(256).collect::<String>().into(),
                report_requests,
                policies,
            };
            self.publish(&spec, &claim)
        });
        match bound {
            Ok(lease) => {
                let address = lease.endpoint().address.clone();
                info!(%tunnel, url = address.url(), "tunnel online");
                self.leases.insert(tunnel, lease);
                self.session.send(ServerMessage::Bound { tunnel, address });
            }
            Err(refusal) => {
                info!(%tunnel, code = %refusal.code, message = %refusal.message, "tunnel refused");
                self.control.shared.metrics.refused(refusal.code);
                self.session.send(ServerMessage::Refused { tunnel, refusal });
            }
        }
    }

    /// Takes a tunnel down in good order. An unknown one is no error: it may have been lost meanwhile.
    pub(super) fn unbind(&mut self, tunnel: TunnelId) {
        if let Some(lease) = self.leases.remove(&tunnel) {
            lease.release();
        }
    }

    /// Takes all tunnels down in good order.
    pub(super) fn release_all(&mut self) {
        for (_, lease) in self.leases.drain() {
            lease.release();
        }
    }

    fn check(&self, tunnel: TunnelId) -> Result<(), Refusal> {
        let limit = self.control.shared.config.limits.tunnels_per_session;
        if self.session.is_leaving() {
            return Err(Refusal::permanent(Code::Draining, "this client said that it is leaving"));
        }
        if self.leases.contains_key(&tunnel) {
            return Err(Refusal::permanent(Code::Malformed, "this session has a tunnel of that id already"));
        }
        if self.leases.len() >= limit {
            let message = format!("a client may have {limit} tunnels on this server");
            return Err(Refusal::permanent(Code::LimitReached, message));
        }
        Ok(())
    }

    fn publish(&self, spec: &BindSpec, claim: &Claim) -> Result<Lease, Refusal> {
        match spec {
            BindSpec::Http(HttpSpec { host: HostSpec { subdomain: Some(wanted), .. }, .. }) => {
                self.claim(&Name::Http(self.label(wanted)?), claim)
            }
            BindSpec::Http(HttpSpec { host: HostSpec { subdomain: None, preferred, .. }, .. }) => {
                let preferred = preferred.as_deref().and_then(|label| self.label(label).ok());
                self.claim_any(preferred.map(Name::Http), || random_label().map(Name::Http), claim)
            }
            BindSpec::Tcp(PortSpec { port, preferred, .. }) => {
                self.claim_port(&TCP, *port, *preferred, claim)
            }
            BindSpec::Udp(PortSpec { port, preferred, .. }) => {
                self.claim_port(&UDP, *port, *preferred, claim)
            }
            _ => Err(Refusal::permanent(
                Code::NotSupported,
                "this server doesn't know that kind of tunnel: upgrade the server",
            )),
        }
    }

    /// Claims the `wanted` port, or else the `preferred` one, or else any.
    fn claim_port(
        &self,
        kind: &Ports,
        wanted: Option<u16>,
        preferred: Option<u16>,
        claim: &Claim,
    ) -> Result<Lease, Refusal> {
        let range = (kind.offered)(&self.control.shared.config).ok_or_else(|| {
            let Ports { what, flag, .. } = kind;
            let message =
                format!("this server offers no {what} ports; its operator can with `{flag} 20000-29999`");
            Refusal::permanent(Code::NotSupported, message)
        })?;
        let (first, last) = (*range.start(), *range.end());
        if let Some(port) = wanted {
            if !range.contains(&port) {
                let message =
                    format!("port {port} is not one of this server's: choose from {first} to {last}");
                return Err(Refusal::permanent(Code::PortNotAllowed, message));
            }
            return self.claim(&(kind.name)(port), claim);
        }
        let preferred = preferred.filter(|port| range.contains(port)).map(kind.name);
        let random = || {
            let offset = u16::try_from(ids::below(u32::from(last - first) + 1)).ok()?;
            Some((kind.name)(first + offset))
        };
        self.claim_any(preferred, random, claim)
    }

    fn claim(&self, name: &Name, claim: &Claim) -> Result<Lease, Refusal> {
        self.control.registry.claim(name, claim).map_err(|error| error.refusal(name))
    }

    /// Claims the preferred name if its owner may have it, and a random free one otherwise.
    fn claim_any(
        &self,
        preferred: Option<Name>,
        random: impl Fn() -> Option<Name>,
        claim: &Claim,
    ) -> Result<Lease, Refusal> {
        if let Some(name) = preferred
            && let Ok(lease) = self.control.registry.claim(&name, claim)
        {
            return Ok(lease);
        }
        let mut last = None;
        for name in (0..RANDOM_TRIES).filter_map(|_| random()) {
            if !self.control.registry.is_free(&name) {
                continue;
            }
            match self.control.registry.claim(&name, claim) {
                Ok(lease) => return Ok(lease),
                // Another program's port: the next one may be free.
                Err(error @ ClaimError::Port { .. }) => last = Some(error.refusal(&name)),
                Err(_raced) => {}
            }
        }
        Err(last
            .unwrap_or_else(|| Refusal::passing(Code::LimitReached, "no free name or port was found", 5_000)))
    }

    fn label(&self, wanted: &str) -> Result<Label, Refusal> {
        let domain = self.control.shared.config.domain.as_str();
        let label = Label::parse(wanted).map_err(|error| {
            let wanted: String = wanted.chars().filter(|c| !c.is_control()).take(80).collect();
            Refusal::permanent(Code::NameInvalid, format!("`{wanted}` can't be a subdomain: {error}"))
        })?;
        if label.is_reserved() {
            let message =
                format!("`{}.{domain}` is reserved for the operator; choose another name", label.as_str());
            return Err(Refusal::permanent(Code::NameReserved, message));
        }
        Ok(label)
    }
}

/// A kind of port.
struct Ports {
    what: &'static str,
    flag: &'static str,
    offered: fn(&Config) -> Option<&RangeInclusive<u16>>,
    name: fn(u16) -> Name,
}

const TCP: Ports =
    Ports { what: "TCP", flag: "--tcp-ports", offered: |config| config.tcp_ports.as_ref(), name: Name::Tcp };
const UDP: Ports =
    Ports { what: "UDP", flag: "--udp-ports", offered: |config| config.udp_ports.as_ref(), name: Name::Udp };

/// A readable random name such as `brave-otter-42`: about 2²⁶ of them, so that they can't be listed by guessing.
fn random_label() -> Option<Label> {
    let name = petname::petname(2, "-")?;
    Label::parse(&format!("{name}-{}", ids::below(90) + 10)).ok().filter(|label| !label.is_reserved())
}
