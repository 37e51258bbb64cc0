//! The part of a public name a client may ask for. Stricter than a host name's label, because whoever
//! holds it speaks under the operator's domain: no look-alikes, and nothing that mail servers, browsers
//! or certificate authorities give a meaning of its own.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::hostname::{HostnameError, check_label};

/// Labels a client doesn't get unless the operator says so: what a visitor would take for the operator
/// (`admin`, `login`), and what software looks up by itself (`wpad`, `autodiscover`, `mta-sts`).
/// Names with an underscore (`_acme-challenge`) need no entry: they are no labels at all. Sorted.
pub const RESERVED: &[&str] = &[
    "abuse",
    "account",
    "accounts",
    "acme",
    "admin",
    "administrator",
    "api",
    "auth",
    "autoconfig",
    "autodiscover",
    "billing",
    "broadcasthost",
    "dashboard",
    "dns",
    "ftp",
    "help",
    "hostmaster",
    "imap",
    "isatap",
    "localhost",
    "login",
    "mail",
    "mta-sts",
    "mx",
    "ns",
    "ns1",
    "ns2",
    "ns3",
    "ns4",
    "pop",
    "pop3",
    "postmaster",
    "root",
    "security",
    "smtp",
    "sso",
    "status",
    "support",
    "tunnel",
    "webmail",
    "webmaster",
    "wpad",
    "www",
];

/// One subdomain label in lower case: letters, digits and inner hyphens, 1 to 63 bytes, not punycode.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Arc<str>);

/// Why a text is not a label a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// There is nothing.
    #[error("the subdomain is empty")]
    Empty,
    /// Over 63 bytes.
    #[error("the subdomain is longer than 63 bytes")]
    TooLong,
    /// A hyphen at either end.
    #[error("the subdomain starts or ends with a hyphen")]
    Hyphen,
    /// Anything but a letter, a digit or a hyphen; a dot included.
    #[error("the subdomain holds something other than letters, digits and hyphens")]
    Character,
    /// `xn--`: it would be shown in a script where it can look like another tenant's name.
    #[error("the subdomain is an encoded international name (xn--), which can imitate another")]
    Punycode,
}

impl Label {
    /// Reads one label, folding case. Reserved labels parse; ask [`is_reserved`](Self::is_reserved).
    ///
    /// # Errors
    /// [`LabelError`] for whatever is not one such label.
    pub fn parse(text: &str) -> Result<Self, LabelError> {
        check_label(text).map_err(|error| match error {
            HostnameError::EmptyLabel => LabelError::Empty,
            HostnameError::LabelTooLong => LabelError::TooLong,
            HostnameError::Hyphen => LabelError::Hyphen,
            _ => LabelError::Character,
        })?;
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("xn--") {
            return Err(LabelError::Punycode);
        }
        Ok(Self(lower.into()))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is in [`RESERVED`].
    pub fn is_reserved(&self) -> bool {
        RESERVED.contains(&self.as_str())
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        Self::parse(text)
    }
}

impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_case_and_refuses_the_rest() {
        assert_eq!(Label::parse("App-1").unwrap().as_str(), "app-1");
        assert_eq!(Label::parse("7").unwrap().as_str(), "7");
        assert!(Label::parse(&"a".repeat(63)).is_ok());
        let longest = "a".repeat(64);
        for (text, error) in [
            ("", LabelError::Empty),
            (longest.as_str(), LabelError::TooLong),
            ("-a", LabelError::Hyphen),
            ("a-", LabelError::Hyphen),
            ("-", LabelError::Hyphen),
            ("a.b", LabelError::Character),
            ("a_b", LabelError::Character),
            ("_acme-challenge", LabelError::Character),
            ("*", LabelError::Character),
            ("a b", LabelError::Character),
            ("caf\u{e9}", LabelError::Character),
            ("\u{430}pp", LabelError::Character),
            ("a\0", LabelError::Character),
            ("xn--pple-43d", LabelError::Punycode),
            ("XN--x", LabelError::Punycode),
        ] {
            assert_eq!(Label::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn knows_the_reserved_in_any_case() {
        for text in ["www", "WWW", "api", "Admin", "wpad", "autodiscover", "mta-sts", "ns1", "localhost"] {
            assert!(Label::parse(text).unwrap().is_reserved(), "{text}");
        }
        assert!(!Label::parse("www2").unwrap().is_reserved());
    }

    #[test]
    fn every_reserved_entry_is_a_canonical_label_in_order() {
        assert!(RESERVED.is_sorted());
        assert!(RESERVED.iter().all(|text| Label::parse(text).unwrap().as_str() == *text));
    }
}
