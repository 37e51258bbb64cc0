//! From a wish (`Bind`) to a lease, and back.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use tokio::time::Instant;
use tracing::info;
use tunnel_protocol::{
    BindSpec, Code, Policy, Refusal, ServerMessage, TunnelId,
    bind::{HostSpec, HttpSpec, PortSpec, TlsSpec, UpstreamProtocol},
    text::printable,
};
use tunnel_router::PathPrefix;

use super::{
    Control,
    asker::Asker,
    enforce,
    standing::{self, Standing},
};
use crate::{
    config::Config,
    ids,
    policy::Policies,
    registry::{Claim, ClaimError, Lease, Name},
    rights::TunnelKind,
    routes::Part,
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
    /// The tunnel of the same session whose place it is to take.
    pub(super) replaces: Option<TunnelId>,
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
        let Wish { spec, policies, upstream, report_requests, replaces } = wish;
        self.forget_lost(tunnel);
        let bound = self.check(tunnel, replaces).and_then(|()| {
            if self.control.shared.has_successor() {
                return Err(Refusal::passing(Code::Draining, "another server process is taking over", 0));
            }
            let identity = &self.session.identity;
            let standing = standing::of(self.control, identity).map_err(|out| out.refusal)?;
            enforce::allow(self.control, identity.token, &standing.rights);
            let policies = Arc::new(Policies::compile(policies, &spec)?);
            let expires = policies.expire.map(|left| Instant::now() + left);
            if policies.expire.is_some_and(|left| left.is_zero()) {
                return Err(expired());
            }
            let (pool, protocol) = sharing(&spec);
            let claim = Claim {
                session: self.session.clone(),
                tunnel,
                pool,
                protocol,
                upstream: printable(&upstream, 256).into(),
                report_requests,
                is_fleeting: is_fleeting(&spec),
                replaces,
                policies,
                max_tunnels: standing.rights.max_tunnels,
            };
            let lease = self.publish(&spec, &claim, &self.asker(&standing))?;
            Ok(lease.until(expires))
        });
        match bound {
            Ok(lease) => {
                let address = lease.endpoint().address.clone();
                info!(%tunnel, url = address.url(), "tunnel online");
                // At once, and not when the client says so: it may rename all the tunnels that it may have.
                if let Some(former) = replaces.and_then(|former| self.leases.remove(&former)) {
                    former.move_on();
                }
                self.leases.insert(tunnel, lease);
                let remark = self.control.shared.why_plain(&address);
                self.session.send(ServerMessage::Bound { tunnel, address });
                let identity = &self.session.identity;
                let is_spent = self.control.shared.accounts.of(identity.token).is_spent();
                let spent = is_spent.then(|| enforce::spent(&identity.name));
                for message in remark.into_iter().chain(spent) {
                    self.session.send(ServerMessage::Notice { message });
                }
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

    /// When the next tunnel is over, if one has a time set.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.leases.values().filter_map(Lease::expires).min()
    }

    /// Takes down the tunnels whose time is over. Their visitors are told at once that there is nothing here.
    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        let is_over = |lease: &Lease| lease.expires().is_some_and(|expires| expires <= now);
        for (tunnel, lease) in self.leases.extract_if(|_, lease| is_over(lease)) {
            info!(%tunnel, url = lease.endpoint().address.url(), "tunnel expired");
            lease.forfeit();
            self.session.send(ServerMessage::Unbound { tunnel, refusal: expired() });
        }
    }

    /// Whether a name is still this session's, and no other one's.
    pub(super) fn serves(&self) -> bool {
        self.leases.values().any(Lease::is_current)
    }

    /// Takes all tunnels down in good order.
    pub(super) fn release_all(&mut self) {
        for (_, lease) in self.leases.drain() {
            lease.release();
        }
    }

    /// Takes down what the token may not publish any more, and of too many tunnels the newest.
    pub(super) fn review(&mut self, standing: &Standing) {
        let asker = self.asker(standing);
        let surplus = |lease: &Lease| {
            let max = standing.rights.max_tunnels?;
            self.control.registry.is_surplus(lease.name(), max).then(|| too_many(max))
        };
        let refused: Vec<_> = self
            .leases
            .iter()
            .filter_map(|(tunnel, lease)| {
                Some((*tunnel, asker.check(lease.name()).err().or_else(|| surplus(lease))?))
            })
            .collect();
        let Self { session, leases, .. } = self;
        for (tunnel, refusal) in refused {
            info!(%tunnel, code = %refusal.code, message = %refusal.message, "tunnel taken down");
            if let Some(lease) = leases.remove(&tunnel) {
                // Its visitors are there by a right that isn't.
                lease.endpoint().over.cancel();
                lease.forfeit();
            }
            session.send(ServerMessage::Unbound { tunnel, refusal });
        }
    }

    /// Lets go of tunnels that were taken over or closed, where they would be in the way of another.
    fn forget_lost(&mut self, tunnel: TunnelId) {
        let limit = self.control.shared.config().limits.tunnels_per_session;
        if self.leases.len() >= limit || self.leases.contains_key(&tunnel) {
            self.leases.retain(|_, lease| lease.is_current());
        }
    }

    fn asker<'s>(&'s self, standing: &'s Standing) -> Asker<'s> {
        Asker {
            identity: &self.session.identity,
            standing,
            domain: self.control.shared.config().domain.clone(),
        }
    }

    fn check(&self, tunnel: TunnelId, replaces: Option<TunnelId>) -> Result<(), Refusal> {
        let limit = self.control.shared.config().limits.tunnels_per_session;
        if self.session.is_leaving() {
            return Err(Refusal::permanent(Code::Draining, "this client said that it is leaving"));
        }
        if self.leases.contains_key(&tunnel) {
            return Err(Refusal::permanent(Code::Malformed, "this session has a tunnel of that id already"));
        }
        let leaving = replaces.is_some_and(|former| self.leases.contains_key(&former));
        if self.leases.len() - usize::from(leaving) >= limit {
            let message = format!("a client may have {limit} tunnels on this server");
            return Err(Refusal::permanent(Code::LimitReached, message));
        }
        Ok(())
    }

    fn publish(&self, spec: &BindSpec, claim: &Claim, asker: &Asker<'_>) -> Result<Lease, Refusal> {
        asker.check_kind(TunnelKind::of(spec).ok_or_else(unknown)?)?;
        match spec {
            BindSpec::Http(HttpSpec { upstream_protocol: UpstreamProtocol::Unknown, .. }) => Err(unknown()),
            BindSpec::Http(HttpSpec { host, path, .. }) => {
                let path = path.as_deref().map_or(Ok(PathPrefix::root()), |path| {
                    PathPrefix::parse(path).map_err(|error| {
                        let path = printable(path, 80);
                        Refusal::permanent(Code::NameInvalid, format!("`{path}` can't be served: {error}"))
                    })
                })?;
                self.claim_host(host, &Part::Http(path), claim, asker)
            }
            BindSpec::Tls(TlsSpec { host, .. }) if self.control.shared.https.is_some() => {
                self.claim_host(host, &Part::Tls, claim, asker)
            }
            BindSpec::Tls(_) => Err(Refusal::permanent(
                Code::NotSupported,
                "this server takes no TLS visitors; its operator can with `--https-port 443`",
            )),
            BindSpec::Tcp(PortSpec { port, preferred, .. }) => {
                self.claim_port(&TCP, (*port, *preferred), claim, asker)
            }
            BindSpec::Udp(PortSpec { port, preferred, .. }) => {
                self.claim_port(&UDP, (*port, *preferred), claim, asker)
            }
            _ => Err(unknown()),
        }
    }

    /// Claims the part of the host that was asked for, or of the one it had before, or of any.
    fn claim_host(
        &self,
        spec: &HostSpec,
        part: &Part,
        claim: &Claim,
        asker: &Asker<'_>,
    ) -> Result<Lease, Refusal> {
        let name = |host| Name::Host(host, part.clone());
        if let Some(host) = asker.wanted(spec)? {
            return self.claim(&name(host), claim);
        }
        let random = || asker.random();
        if asker.standing.rights.is_restricted() && random().is_none() {
            return Err(asker.no_choice());
        }
        self.claim_any(asker.preferred(spec).map(name), || random().map(name), claim)
    }

    /// Claims the `wanted` port, or else the `preferred` one, or else any.
    fn claim_port(
        &self,
        kind: &Ports,
        (wanted, preferred): (Option<u16>, Option<u16>),
        claim: &Claim,
        asker: &Asker<'_>,
    ) -> Result<Lease, Refusal> {
        let config = self.control.shared.config();
        let range = (kind.offered)(&config).ok_or_else(|| {
            let kind = kind.kind;
            let message = format!(
                "this server offers no {} ports; its operator can with `--{kind}-ports 20000-29999`",
                kind.name().to_uppercase()
            );
            Refusal::permanent(Code::NotSupported, message)
        })?;
        let (first, last) = (*range.start(), *range.end());
        if let Some(port) = wanted {
            if !range.contains(&port) {
                let message =
                    format!("port {port} is not one of this server's: choose from {first} to {last}");
                return Err(Refusal::permanent(Code::PortNotAllowed, message));
            }
            let name = (kind.name)(port);
            asker.check(&name)?;
            return self.claim(&name, claim);
        }
        let ports = asker.ports(kind.kind, range);
        if ports.count() == 0 {
            return Err(asker.no_port(kind.kind, range));
        }
        let may_have = |name: &Name| asker.check(name).is_ok();
        let preferred = preferred.filter(|port| range.contains(port)).map(kind.name).filter(may_have);
        let random = || ports.nth(ids::below(ports.count())).map(kind.name).filter(may_have);
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
                // No other name is to be had either.
                Err(error @ ClaimError::TooMany(_)) => return Err(error.refusal(&name)),
                // Another program's port: the next one may be free.
                Err(error @ ClaimError::Port { .. }) => last = Some(error.refusal(&name)),
                Err(_raced) => {}
            }
        }
        Err(last
            .unwrap_or_else(|| Refusal::passing(Code::LimitReached, "no free name or port was found", 5_000)))
    }
}

/// A kind of port.
struct Ports {
    kind: TunnelKind,
    offered: fn(&Config) -> Option<&RangeInclusive<u16>>,
    name: fn(u16) -> Name,
}

const TCP: Ports =
    Ports { kind: TunnelKind::Tcp, offered: |config| config.tcp_ports.as_ref(), name: Name::Tcp };
const UDP: Ports =
    Ports { kind: TunnelKind::Udp, offered: |config| config.udp_ports.as_ref(), name: Name::Udp };

/// Whether other clients may serve the name as well, and what they must all have in common besides policies.
fn sharing(spec: &BindSpec) -> (bool, UpstreamProtocol) {
    match spec {
        BindSpec::Http(HttpSpec { pool, upstream_protocol, .. }) => (*pool, *upstream_protocol),
        BindSpec::Tls(TlsSpec { pool, .. })
        | BindSpec::Tcp(PortSpec { pool, .. })
        | BindSpec::Udp(PortSpec { pool, .. }) => (*pool, UpstreamProtocol::default()),
        _ => (false, UpstreamProtocol::default()),
    }
}

fn is_fleeting(spec: &BindSpec) -> bool {
    matches!(
        spec,
        BindSpec::Tcp(PortSpec { fleeting: true, .. }) | BindSpec::Udp(PortSpec { fleeting: true, .. })
    )
}

fn expired() -> Refusal {
    Refusal::permanent(Code::Expired, "the time set for it with `--expire` is over")
}

fn too_many(max: u32) -> Refusal {
    let message = format!("this token may have {max} tunnels at a time, and this is a newer one");
    Refusal::permanent(Code::LimitReached, message)
}

fn unknown() -> Refusal {
    Refusal::permanent(Code::NotSupported, "this server doesn't know that kind of tunnel: upgrade the server")
}
