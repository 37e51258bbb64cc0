//! What a tunnel may claim: one name, or every name right below one.

use std::fmt;
use std::str::FromStr;

use crate::hostname::{Hostname, HostnameError};

/// A set of host names: `app.example.com`, or `*.dev.example.com`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This name only.
    Exact(Hostname),
    /// Every name one label below this one, and never the name itself: what a certificate's wildcard covers
    /// (RFC 6125 §6.4.3), so that a wildcard's names can all be served over HTTPS.
    Wildcard(Hostname),
}

/// Why a text is not a host pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// The name, or what follows `*.`, is no host name. A `*` anywhere else ends here too.
    #[error("not a host name or `*.` and a host name")]
    Hostname(#[source] HostnameError),
    /// An address names a machine, never a tenant.
    #[error("an IP address cannot be routed by name")]
    Address,
}

impl HostPattern {
    /// Reads `name` or `*.name`; both are canonicalised as [`Hostname::parse`] does.
    ///
    /// # Errors
    /// [`PatternError`] for anything else, IP addresses included.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (name, make): (_, fn(Hostname) -> Self) = match text.strip_prefix("*.") {
            Some(base) => (base, Self::Wildcard),
            None => (text, Self::Exact),
        };
        let host = Hostname::parse(name).map_err(PatternError::Hostname)?;
        if host.ip().is_some() { Err(PatternError::Address) } else { Ok(make(host)) }
    }

    /// Whether `host` is one of the names this stands for.
    pub fn matches(&self, host: &Hostname) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Wildcard(base) => {
                host.as_str().split_once('.').is_some_and(|(_, parent)| parent == base.as_str())
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Wildcard(base) => write!(f, "*.{base}"),
        }
    }
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_what_it_says() {
        for (pattern, host, expected) in [
            ("app.example.com", "APP.example.com.", true),
            ("app.example.com", "x.app.example.com", false),
            ("app.example.com", "example.com", false),
            ("*.Example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", "notexample.com", false),
            ("*.example.com", "a.example.com.evil.test", false),
            ("*.test", "[::1]", false),
        ] {
            let parsed = HostPattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(&Hostname::parse(host).unwrap()), expected, "{pattern} on {host}");
        }
    }

    #[test]
    fn shows_its_canonical_text() {
        assert_eq!(HostPattern::parse("*.DEV.test.").unwrap().to_string(), "*.dev.test");
        assert_eq!(HostPattern::parse("A.test").unwrap().to_string(), "a.test");
    }

    #[test]
    fn refuses_stars_elsewhere_and_addresses() {
        use HostnameError::{Character, Empty};
        for (text, error) in [
            ("", PatternError::Hostname(Empty)),
            ("*", PatternError::Hostname(Character)),
            ("*.", PatternError::Hostname(Empty)),
            ("*.*.test", PatternError::Hostname(Character)),
            ("a.*.test", PatternError::Hostname(Character)),
            ("a*.test", PatternError::Hostname(Character)),
            ("a.test:80", PatternError::Hostname(Character)),
            ("127.0.0.1", PatternError::Address),
            ("*.127.0.0.1", PatternError::Address),
            ("[::1]", PatternError::Address),
        ] {
            assert_eq!(HostPattern::parse(text), Err(error), "{text:?}");
        }
    }
}
