//! Names and ports that are one token's alone, whoever asks first.

use std::{collections::HashMap, fmt, str::FromStr};

use tunnel_protocol::TokenId;
use tunnel_router::{HostPattern, Hostname, Label, LabelError, PatternError};

/// A name that can be set aside for a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReservedName {
    /// A name right below the server's domain, whatever that is.
    Subdomain(Label),
    /// A whole host name, or a wildcard with each name it stands for.
    Host(HostPattern),
    /// A port for connections.
    Tcp(u16),
    /// A port for datagrams.
    Udp(u16),
}

/// Not a name that can be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseReservedError {
    /// Neither a subdomain …
    #[error("{0}")]
    Label(#[source] LabelError),
    /// … nor a host …
    #[error("{0}")]
    Host(#[source] PatternError),
    /// … nor a port.
    #[error("not a port: write `tcp:20022` or `udp:20022`")]
    Port,
}

impl ReservedName {
    /// How else this name is written on a server of the domain `base`: `foo` and `foo.DOMAIN` are one name.
    pub fn alias(&self, base: &Hostname) -> Option<Self> {
        match self {
            Self::Subdomain(label) => {
                Hostname::under(label, base).ok().map(|host| Self::Host(HostPattern::Exact(host)))
            }
            Self::Host(HostPattern::Exact(host)) => host.label_under(base).map(Self::Subdomain),
            Self::Host(HostPattern::Wildcard(_)) | Self::Tcp(_) | Self::Udp(_) => None,
        }
    }
}

/// Everything that is reserved on a server. An exact name counts before a wildcard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reservations(HashMap<ReservedName, TokenId>);

impl Reservations {
    /// For whom a host is set aside, on a server of the domain `base`.
    pub fn owner_of_host(&self, host: &HostPattern, base: &Hostname) -> Option<TokenId> {
        let HostPattern::Exact(name) = host else { return self.get(&ReservedName::Host(host.clone())) };
        if self.0.is_empty() {
            return None;
        }
        // `foo` and `foo.DOMAIN` are one name.
        let by_label = name.label_under(base).and_then(|label| self.get(&ReservedName::Subdomain(label)));
        by_label.or_else(|| self.get(&ReservedName::Host(host.clone()))).or_else(|| {
            let above = name.as_str().split_once('.').and_then(|(_, above)| Hostname::parse(above).ok())?;
            self.get(&ReservedName::Host(HostPattern::Wildcard(above)))
        })
    }

    /// For whom exactly this is set aside.
    pub fn get(&self, name: &ReservedName) -> Option<TokenId> {
        self.0.get(name).copied()
    }

    /// Every name and whose it is, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&ReservedName, TokenId)> {
        self.0.iter().map(|(name, token)| (name, *token))
    }
}

impl FromIterator<(ReservedName, TokenId)> for Reservations {
    fn from_iter<I: IntoIterator<Item = (ReservedName, TokenId)>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl fmt::Display for ReservedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subdomain(label) => write!(f, "{label}"),
            Self::Host(host) => write!(f, "{host}"),
            Self::Tcp(port) => write!(f, "tcp:{port}"),
            Self::Udp(port) => write!(f, "udp:{port}"),
        }
    }
}

impl FromStr for ReservedName {
    type Err = ParseReservedError;

    /// `foo` is a subdomain, `app.example.com` and `*.example.com` are hosts, `tcp:20022` and `udp:20022` ports.
    fn from_str(text: &str) -> Result<Self, ParseReservedError> {
        let port = |text: &str| {
            let has_only_digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|port| has_only_digits && *port != 0).ok_or(ParseReservedError::Port)
        };
        if let Some(number) = text.strip_prefix("tcp:") {
            return port(number).map(Self::Tcp);
        }
        if let Some(number) = text.strip_prefix("udp:") {
            return port(number).map(Self::Udp);
        }
        if text.parse::<u16>().is_ok() {
            // A label, too, but hardly ever meant as one.
            return Err(ParseReservedError::Port);
        }
        if text.contains('.') {
            return HostPattern::parse(text).map(Self::Host).map_err(ParseReservedError::Host);
        }
        Label::parse(text).map(Self::Subdomain).map_err(ParseReservedError::Label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in ["demo", "app.example.com", "*.dev.example.com", "tcp:20022", "udp:53"] {
            assert_eq!(text.parse::<ReservedName>().unwrap().to_string(), text);
        }
        assert_eq!("Demo".parse(), "demo".parse::<ReservedName>());
        for text in
            ["", "20022", "tcp:", "tcp:0", "tcp:+1", "udp:70000", "a_b", "*", "*.", "a..b", "10.0.0.1"]
        {
            assert!(text.parse::<ReservedName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_subdomain_and_the_host_that_it_is_are_aliases() {
        let base = Hostname::parse("vps.test").unwrap();
        let alias =
            |name: &str| name.parse::<ReservedName>().unwrap().alias(&base).map(|alias| alias.to_string());
        for (one, other) in [("demo", "demo.vps.test"), ("demo.vps.test", "demo")] {
            assert_eq!(alias(one).as_deref(), Some(other));
        }
        for name in ["vps.test", "a.demo.vps.test", "demo.test", "*.vps.test", "tcp:20022", "udp:53"] {
            assert_eq!(alias(name), None, "{name}");
        }
    }

    #[test]
    fn a_host_is_whose_its_nearest_name_is() {
        let base = Hostname::parse("vps.test").unwrap();
        let reserved = [
            ("demo", 1),
            ("app.example.com", 2),
            ("*.dev.example.com", 3),
            ("own.dev.example.com", 4),
            ("x.vps.test", 5),
            ("tcp:20022", 6),
        ];
        let all: Reservations =
            reserved.iter().map(|(name, token)| (name.parse().unwrap(), TokenId([*token; 8]))).collect();
        for (host, owner) in [
            ("demo.vps.test", Some(1)),
            ("demo.example.com", None),
            ("app.example.com", Some(2)),
            ("a.dev.example.com", Some(3)),
            ("*.dev.example.com", Some(3)),
            ("a.b.dev.example.com", None),
            ("dev.example.com", None),
            ("own.dev.example.com", Some(4)),
            ("x.vps.test", Some(5)),
            ("*.vps.test", None),
        ] {
            let found = all.owner_of_host(&host.parse().unwrap(), &base);
            assert_eq!(found, owner.map(|token| TokenId([token; 8])), "{host}");
        }
        assert_eq!(all.get(&ReservedName::Tcp(20022)), Some(TokenId([6; 8])));
        assert_eq!(all.get(&ReservedName::Udp(20022)), None);
    }
}
