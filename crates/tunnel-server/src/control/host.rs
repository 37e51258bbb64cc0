//! Which host a client asks for, and whether it may have it.

use tunnel_protocol::{Code, Refusal, bind::HostSpec};
use tunnel_router::{HostPattern, Hostname, Label};

use crate::{
    auth::Identity,
    ids,
    rights::{Missing, Rights},
};

/// A client's standing, as far as host names go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub(super) identity: &'a Identity,
    pub(super) rights: &'a Rights,
    /// The server's domain.
    pub(super) domain: &'a Hostname,
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
                invalid(format!("`{}` can't be a domain: {reason}", printable(domain)))
            })?,
            (Some(_), Some(_)) => {
                return Err(invalid("a subdomain and a domain can't both be asked for".into()));
            }
        };
        self.check(&host)?;
        Ok(Some(host))
    }

    /// The name it had before, if it may still have it.
    pub(super) fn preferred(&self, spec: &HostSpec) -> Option<HostPattern> {
        let host = self.subdomain(spec.preferred.as_deref()?).ok()?;
        self.check(&host).is_ok().then_some(host)
    }

    /// A readable random name such as `brave-otter-42`: about 2²⁶ of them, so that they can't be listed by guessing.
    /// `None` if the token may choose from no such.
    pub(super) fn random(&self) -> Option<HostPattern> {
        let name = petname::petname(2, "-")?;
        let label = self.rights.any_subdomain(&format!("{name}-{}", ids::below(90) + 10))?;
        let host = HostPattern::Exact(Hostname::under(&label, self.domain).ok()?);
        self.check(&host).is_ok().then_some(host)
    }

    /// Whether the token may publish `host`.
    ///
    /// # Errors
    /// The refusal, which says how the operator can change that.
    pub(super) fn check(&self, host: &HostPattern) -> Result<(), Refusal> {
        let Err(missing) = self.rights.check(host, self.domain) else { return Ok(()) };
        let name = &self.identity.name;
        let label = match host {
            HostPattern::Exact(host) => host.label_under(self.domain),
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
        if !self.rights.any_domain {
            let flag = match &label {
                Some(label) => format!("--subdomain {label}"),
                None if matches!(host, HostPattern::Wildcard(_)) => format!("--domain '{host}'"),
                None => format!("--domain {host}"),
            };
            message += &format!("; to allow it, run on the server: tunnel token edit {name} {flag}");
        }
        Err(Refusal::permanent(code, message))
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

    fn subdomain(&self, wanted: &str) -> Result<HostPattern, Refusal> {
        let label = Label::parse(wanted)
            .map_err(|error| invalid(format!("`{}` can't be a subdomain: {error}", printable(wanted))))?;
        let host = Hostname::under(&label, self.domain)
            .map_err(|error| invalid(format!("`{label}` can't be a subdomain here: {error}")))?;
        Ok(HostPattern::Exact(host))
    }

    fn patterns(&self) -> String {
        let some: Vec<_> = self.rights.subdomains.iter().take(5).map(|right| format!("`{right}`")).collect();
        let more = if self.rights.subdomains.len() > some.len() { " …" } else { "" };
        some.join(", ") + more
    }
}

fn invalid(message: String) -> Refusal {
    Refusal::permanent(Code::NameInvalid, message)
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
