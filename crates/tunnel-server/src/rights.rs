//! What a token may do: what keeps one tenant from taking another's domain or all of the server, and everyone from
//! speaking for the operator.

mod kind;
mod ports;
mod reservations;

use std::time::SystemTime;

use tunnel_router::{HostPattern, Hostname, Label, LabelPattern};

pub use self::{
    kind::{TunnelKind, UnknownKind},
    ports::{ParsePortsError, PortSet},
    reservations::{ParseReservedError, Reservations, ReservedName},
};

/// What one token may do. The default is what a token may do of which nothing was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// The names right below the server's domain that it may have. A reserved one needs an entry that is exactly it;
    /// of the others it may have all, unless there are entries for them too.
    pub subdomains: Vec<LabelPattern>,
    /// The other names that it may have: domains of its owner's own, and of the server's domain the apex, whatever is
    /// deeper than one label, and wildcards. Empty: none. A wildcard is a right to itself and to each name it
    /// matches, but to no reserved one of the server's domain.
    pub domains: Vec<HostPattern>,
    /// Whether it may have all those other names, whatever `domains` says. For a server without tokens, where nobody's
    /// domain can be taken by anybody else.
    pub any_domain: bool,
    /// The kinds of tunnels it may have. Empty (the default): all.
    pub kinds: Vec<TunnelKind>,
    /// The ports of TCP tunnels that it may have, within the server's. `None` (the default): all of them.
    pub tcp_ports: Option<PortSet>,
    /// The ports of UDP tunnels that it may have, within the server's. `None` (the default): all of them.
    pub udp_ports: Option<PortSet>,
    /// How many tunnels it may have at once, those that are held for an absent client included. `None` (the default):
    /// as many as the server lets each token have.
    pub max_tunnels: Option<u32>,
    /// How many visitors all its tunnels together may have at once: connections, flows, and for the web exchanges.
    /// `None` (the default): as many as its tunnels may have.
    pub max_connections: Option<u32>,
    /// How many bytes a second all its tunnels together may carry, each way. `None` (the default): any number.
    pub bandwidth: Option<u64>,
    /// How many bytes of visitors' its tunnels may carry in a calendar month (UTC), both ways together. `None` (the
    /// default): any number.
    pub monthly_bytes: Option<u64>,
    /// When it ends. `None` (the default): when it is revoked.
    pub expires: Option<SystemTime>,
}

/// What right is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// To this reserved name.
    Reserved,
    /// To names like this one right below the server's domain.
    Subdomain,
    /// To this domain.
    Domain,
}

impl Rights {
    /// Whether a server of `base` lets the token publish `host`.
    pub(crate) fn check(&self, host: &HostPattern, base: &Hostname) -> Result<(), Missing> {
        let label = match host {
            HostPattern::Exact(name) => name.label_under(base),
            HostPattern::Wildcard(_) => None,
        };
        let by_domain = self.domains.iter().any(|right| right == host);
        let Some(label) = label else {
            let allowed = self.any_domain || by_domain || self.is_under_wildcard(host);
            return if allowed { Ok(()) } else { Err(Missing::Domain) };
        };
        if label.is_reserved() {
            let by_name = self.subdomains.iter().any(|right| right.as_str() == label.as_str());
            return if by_name || by_domain { Ok(()) } else { Err(Missing::Reserved) };
        }
        let by_label = !self.is_restricted() || self.subdomains.iter().any(|right| right.matches(&label));
        if by_label || by_domain || self.is_under_wildcard(host) { Ok(()) } else { Err(Missing::Subdomain) }
    }

    /// A name for a token that asks for none in particular, made of a random one. `None` if it has no right that
    /// leaves a choice.
    pub(crate) fn any_subdomain(&self, random: &str) -> Option<Label> {
        if !self.is_restricted() {
            return Label::parse(random).ok();
        }
        self.subdomains.iter().find(|right| right.is_wildcard())?.fill(random)
    }

    /// Whether it may have only some of the names that aren't reserved. A reserved one is given on top of the others.
    pub fn is_restricted(&self) -> bool {
        let is_reserved =
            |right: &LabelPattern| Label::parse(right.as_str()).is_ok_and(|label| label.is_reserved());
        !self.subdomains.iter().all(is_reserved)
    }

    fn is_under_wildcard(&self, host: &HostPattern) -> bool {
        match host {
            HostPattern::Exact(name) => self.domains.iter().any(|right| right.matches(name)),
            HostPattern::Wildcard(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(subdomains: &[&str], domains: &[&str]) -> Rights {
        Rights {
            subdomains: subdomains.iter().map(|text| text.parse().unwrap()).collect(),
            domains: domains.iter().map(|text| text.parse().unwrap()).collect(),
            ..Rights::default()
        }
    }

    #[test]
    fn who_may_publish_what() {
        use Missing::{Domain, Reserved, Subdomain};
        let nothing = rights(&[], &[]);
        let restricted =
            rights(&["dev-*", "www", "*"], &["app.example.com", "*.dev.example.com", "*.vps.test"]);
        let only_dev = rights(&["dev-*"], &["www.vps.test", "vps.test"]);
        let also_www = rights(&["www"], &[]);
        let anyone = Rights { any_domain: true, ..Rights::default() };
        for (rights, host, expected) in [
            (&nothing, "foo.vps.test", Ok(())),
            (&nothing, "www.vps.test", Err(Reserved)),
            (&nothing, "vps.test", Err(Domain)),
            (&nothing, "a.b.vps.test", Err(Domain)),
            (&nothing, "*.vps.test", Err(Domain)),
            (&nothing, "xn--pple-43d.vps.test", Err(Domain)),
            (&nothing, "app.example.com", Err(Domain)),
            (&restricted, "app.example.com", Ok(())),
            (&restricted, "x.app.example.com", Err(Domain)),
            (&restricted, "*.app.example.com", Err(Domain)),
            (&restricted, "example.com", Err(Domain)),
            (&restricted, "*.dev.example.com", Ok(())),
            (&restricted, "x.dev.example.com", Ok(())),
            (&restricted, "x.y.dev.example.com", Err(Domain)),
            (&restricted, "dev.example.com", Err(Domain)),
            (&restricted, "*.x.dev.example.com", Err(Domain)),
            (&restricted, "*.vps.test", Ok(())),
            (&restricted, "vps.test", Err(Domain)),
            (&restricted, "www.vps.test", Ok(())),
            (&restricted, "api.vps.test", Err(Reserved)),
            (&restricted, "foo.vps.test", Ok(())),
            (&only_dev, "dev-1.vps.test", Ok(())),
            (&only_dev, "foo.vps.test", Err(Subdomain)),
            (&only_dev, "www.vps.test", Ok(())),
            (&only_dev, "vps.test", Ok(())),
            (&only_dev, "*.vps.test", Err(Domain)),
            (&also_www, "www.vps.test", Ok(())),
            (&also_www, "foo.vps.test", Ok(())),
            (&also_www, "api.vps.test", Err(Reserved)),
            (&anyone, "app.example.com", Ok(())),
            (&anyone, "*.vps.test", Ok(())),
            (&anyone, "www.vps.test", Err(Reserved)),
        ] {
            let base = Hostname::parse("vps.test").unwrap();
            assert_eq!(rights.check(&host.parse().unwrap(), &base), expected, "{host} with {rights:?}");
        }
    }

    #[test]
    fn a_random_name_is_one_that_may_be_had() {
        assert_eq!(rights(&[], &[]).any_subdomain("shy-newt").unwrap().as_str(), "shy-newt");
        let some = rights(&["www", "dev-*"], &[]);
        assert_eq!(some.any_subdomain("shy-newt").unwrap().as_str(), "dev-shy-newt");
        assert_eq!(rights(&["mine"], &[]).any_subdomain("shy-newt"), None);
        assert!(rights(&["www"], &[]).any_subdomain("shy-newt").is_some());
    }
}
