//! What a client asks for, and whether it may have it.
//!
//! The name that is checked here is the one that is leased and routed by: it is parsed once.

use std::ops::RangeInclusive;

use tunnel_protocol::{Code, Refusal, TokenId, bind::HostSpec, text::printable};
use tunnel_router::{HostPattern, Hostname, Label};

use super::standing::Standing;
use crate::{
    auth::Identity,
    ids,
    registry::Name,
    rights::{Missing, PortSet, ReservedName, Rights, TunnelKind},
    routes::Part,
};

/// A client's standing.
#[derive(Clone, Debug)]
pub(super) struct Asker<'a> {
    pub(super) identity: &'a Identity,
    pub(super) standing: &'a Standing,
    /// The server's domain.
    pub(super) domain: Hostname,
}

impl Asker<'_> {
    /// The host that was asked for; `None` if any will do. `--domain foo.vps.example.com` on the server of that domain
    /// is the same as `--subdomain foo`.
    ///
    /// # Errors
    /// The refusal of the bind: it is no host name, or the token has no right to it.
    pub(super) fn wanted(&self, spec: &HostSpec) -> Result<Option<HostPattern>, Refusal> {
        let host = match (&spec.subdomain, &spec.domain) {
            (None, None) => return Ok(None),
            (Some(subdomain), None) => self.subdomain(subdomain)?,
            (None, Some(domain)) => HostPattern::parse(domain).map_err(|error| {
                let reason = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
                invalid(format!("`{}` can't be a domain: {reason}", printable(domain, 80)))
            })?,
            (Some(_), Some(_)) => {
                return Err(invalid("a subdomain and a domain can't both be asked for".into()));
            }
        };
        self.check_host(&host)?;
        Ok(Some(host))
    }

    /// The name it had before, if it may still have it.
    pub(super) fn preferred(&self, spec: &HostSpec) -> Option<HostPattern> {
        let host = self.subdomain(spec.preferred.as_deref()?).ok()?;
        self.check_host(&host).is_ok().then_some(host)
    }

    /// A readable random name such as `brave-otter-42`: about 2²⁶ of them, so that they can't be listed by guessing.
    /// `None` if the token may choose from no such.
    pub(super) fn random(&self) -> Option<HostPattern> {
        let name = petname::petname(2, "-")?;
        let label = self.rights().any_subdomain(&format!("{name}-{}", ids::below(90) + 10))?;
        let host = HostPattern::Exact(Hostname::under(&label, &self.domain).ok()?);
        self.check_host(&host).is_ok().then_some(host)
    }

    /// The ports it may choose from, of those that the server offers. Some of them may be reserved.
    pub(super) fn ports(&self, kind: TunnelKind, offered: &RangeInclusive<u16>) -> PortSet {
        match self.port_right(kind) {
            Some(ports) => ports.within(offered),
            None => offered.clone().into(),
        }
    }

    /// Whether the token may publish this.
    ///
    /// # Errors
    /// The refusal, which says how the operator can change that.
    pub(super) fn check(&self, name: &Name) -> Result<(), Refusal> {
        match name {
            Name::Host(host, part) => {
                let kind = if *part == Part::Tls { TunnelKind::Tls } else { TunnelKind::Http };
                self.check_kind(kind)?;
                self.check_host(host)
            }
            Name::Tcp(port) => self.check_port(TunnelKind::Tcp, *port),
            Name::Udp(port) => self.check_port(TunnelKind::Udp, *port),
        }
    }

    /// Whether the token may have tunnels of this kind.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn check_kind(&self, kind: TunnelKind) -> Result<(), Refusal> {
        let kinds = &self.rights().kinds;
        if kinds.is_empty() || kinds.contains(&kind) {
            return Ok(());
        }
        let (name, may) = (&self.identity.name, listed(kinds));
        let message = format!(
            "the token `{name}` may have no {kind} tunnels, only {may}; to allow it, run on the server: tunnel token \
             edit {name} --kind {may},{kind}"
        );
        Err(Refusal::permanent(Code::KindNotAllowed, message))
    }

    /// The refusal of a client that asks for any name and may have none.
    pub(super) fn no_choice(&self) -> Refusal {
        let message = format!(
            "the token `{}` may publish only {}; ask for one with `--subdomain`",
            self.identity.name,
            self.patterns()
        );
        Refusal::permanent(Code::DomainNotAllowed, message)
    }

    /// The refusal of a client that asks for a port and may have none.
    pub(super) fn no_port(&self, kind: TunnelKind, offered: &RangeInclusive<u16>) -> Refusal {
        let name = &self.identity.name;
        let ports = self.port_right(kind).cloned().unwrap_or_default();
        let message = format!(
            "the token `{name}` may have no {kind} port of those that this server offers ({}-{}), only {ports}; to \
             change that, run on the server: tunnel token edit {name} --{kind}-ports PORTS",
            offered.start(),
            offered.end()
        );
        Refusal::permanent(Code::PortNotAllowed, message)
    }

    fn check_host(&self, host: &HostPattern) -> Result<(), Refusal> {
        match self.standing.reservations.owner_of_host(host, &self.domain) {
            Some(owner) if owner == self.token() => return Ok(()),
            Some(_other) => {
                let message = format!("`{host}` is reserved for another token; choose another name");
                return Err(Refusal::permanent(Code::NameReserved, message));
            }
            None => {}
        }
        let Err(missing) = self.rights().check(host, &self.domain) else { return Ok(()) };
        let name = &self.identity.name;
        let label = match host {
            HostPattern::Exact(host) => host.label_under(&self.domain),
            HostPattern::Wildcard(_) => None,
        };
        let (code, mut message) = match missing {
            Missing::Reserved => {
                (Code::NameReserved, format!("`{host}` is reserved for the operator; choose another name"))
            }
            Missing::Subdomain => (
                Code::DomainNotAllowed,
                format!(
                    "the token `{name}` may not publish `{host}`; choose a name that fits {}",
                    self.patterns()
                ),
            ),
            Missing::Domain => {
                (Code::DomainNotAllowed, format!("the token `{name}` may not publish `{host}`"))
            }
        };
        if !self.rights().any_domain {
            let flag = match &label {
                Some(label) => format!("--subdomain {label}"),
                None if matches!(host, HostPattern::Wildcard(_)) => format!("--domain '{host}'"),
                None => format!("--domain {host}"),
            };
            message += &format!("; to allow it, run on the server: tunnel token edit {name} {flag}");
        }
        Err(Refusal::permanent(code, message))
    }

    fn check_port(&self, kind: TunnelKind, port: u16) -> Result<(), Refusal> {
        self.check_kind(kind)?;
        let reserved =
            if kind == TunnelKind::Tcp { ReservedName::Tcp(port) } else { ReservedName::Udp(port) };
        match self.standing.reservations.get(&reserved) {
            Some(owner) if owner == self.token() => return Ok(()),
            Some(_other) => {
                let message = format!("{kind} port {port} is reserved for another token; choose another one");
                return Err(Refusal::permanent(Code::PortNotAllowed, message));
            }
            None => {}
        }
        let Some(ports) = self.port_right(kind).filter(|ports| !ports.contains(port)) else { return Ok(()) };
        let name = &self.identity.name;
        let message = format!(
            "the token `{name}` may not have {kind} port {port}, only {ports}; to allow it, run on the server: tunnel \
             token edit {name} --{kind}-ports {}",
            if ports.count() == 0 { port.to_string() } else { format!("{ports},{port}") }
        );
        Err(Refusal::permanent(Code::PortNotAllowed, message))
    }

    fn rights(&self) -> &Rights {
        &self.standing.rights
    }

    fn token(&self) -> TokenId {
        self.identity.token
    }

    fn port_right(&self, kind: TunnelKind) -> Option<&PortSet> {
        match kind {
            TunnelKind::Tcp => self.rights().tcp_ports.as_ref(),
            TunnelKind::Udp => self.rights().udp_ports.as_ref(),
            TunnelKind::Http | TunnelKind::Tls => None,
        }
    }

    fn subdomain(&self, wanted: &str) -> Result<HostPattern, Refusal> {
        let label = Label::parse(wanted)
            .map_err(|error| invalid(format!("`{}` can't be a subdomain: {error}", printable(wanted, 80))))?;
        let host = Hostname::under(&label, &self.domain)
            .map_err(|error| invalid(format!("`{label}` can't be a subdomain here: {error}")))?;
        Ok(HostPattern::Exact(host))
    }

    fn patterns(&self) -> String {
        let subdomains = &self.rights().subdomains;
        let some: Vec<_> = subdomains.iter().take(5).map(|right| format!("`{right}`")).collect();
        let more = if subdomains.len() > some.len() { " …" } else { "" };
        some.join(", ") + more
    }
}

fn listed(kinds: &[TunnelKind]) -> String {
    kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn invalid(message: String) -> Refusal {
    Refusal::permanent(Code::NameInvalid, message)
}
