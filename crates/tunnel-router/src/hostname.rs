//! One spelling for one host. `A.Test`, `a.test.` and `a.test` must find the same tunnel, and
//! whatever has no single reading must find none, so every name that routes or authorises passes here.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use crate::label::Label;

/// Most bytes in a host name, without the trailing dot (RFC 1035 §2.3.4, less the root label).
const MAX_NAME: usize = 253;
/// Most bytes in one label (RFC 1035 §2.3.4).
pub(crate) const MAX_LABEL: usize = 63;

/// A host in canonical form: lower-case ASCII, labels of letters, digits and hyphens, no trailing dot.
///
/// An address literal is representable (`127.0.0.1`, `[::1]`) so that a visitor who used one gets
/// "no such tunnel" rather than "bad request", but [`ip`](Self::ip) tells it apart and no pattern
/// can be made of it. Cloning is a reference count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(Arc<str>);

/// Why a text is not a host name, or not one we accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostnameError {
    /// There is no host.
    #[error("the host name is empty")]
    Empty,
    /// Over 253 bytes.
    #[error("the host name is longer than 253 bytes")]
    TooLong,
    /// Two dots in a row, or a dot at the start.
    #[error("the host name has an empty label")]
    EmptyLabel,
    /// A label over 63 bytes.
    #[error("a label of the host name is longer than 63 bytes")]
    LabelTooLong,
    /// A label that starts or ends with a hyphen.
    #[error("a label of the host name starts or ends with a hyphen")]
    Hyphen,
    /// Anything but a letter, a digit, a hyphen or a dot: user info, lists, spaces and underscores included.
    #[error("the host name holds something other than letters, digits, hyphens and dots")]
    Character,
    /// The last label is a number, yet the whole is no dotted-quad IPv4 address (`127.1`, `0x7f.1`, `1.2.3.256`).
    #[error("the host name ends in a number but is not an IPv4 address")]
    Number,
    /// Something in brackets that is no IPv6 address, or one with a zone.
    #[error("the host is not a valid IPv6 address")]
    Ipv6,
    /// A colon not followed by a decimal number in 1..=65535.
    #[error("the port is not a number in 1..=65535")]
    Port,
}

impl Hostname {
    /// Reads a host without a port. IPv6 is written in brackets, as in a `Host` field.
    ///
    /// Case is folded and one trailing dot removed. Underscores are refused: no certificate authority
    /// signs such a name, and DNS has them for records that aren't hosts.
    ///
    /// # Errors
    /// [`HostnameError`] for whatever is not exactly one host.
    pub fn parse(text: &str) -> Result<Self, HostnameError> {
        if text.starts_with('[') {
            return parse_v6(text);
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        check_name(text)?;
        let lower = if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        };
        if ends_in_number(&lower) && lower.parse::<Ipv4Addr>().is_err() {
            return Err(HostnameError::Number);
        }
        Ok(Self(Arc::from(lower)))
    }

    /// Reads `host[:port]` as in a `Host` field or an absolute URI (RFC 9110 §7.2).
    ///
    /// Stricter than the RFC 3986 grammar where readers differ: user info is refused, and so are the
    /// empty port (`host:`) and port 0, which no browser sends.
    ///
    /// # Errors
    /// [`HostnameError`] for whatever is not exactly one host with at most one port.
    pub fn parse_authority(text: &str) -> Result<(Self, Option<u16>), HostnameError> {
        let host_end = match text.find(']') {
            Some(bracket) if text.starts_with('[') => bracket + 1,
            _ => text.find(':').unwrap_or(text.len()),
        };
        let (host, rest) = text.split_at(host_end);
        let host = Self::parse(host)?;
        let port = match rest.strip_prefix(':') {
            Some(digits) => Some(parse_port(digits)?),
            None if rest.is_empty() => None,
            None => return Err(HostnameError::Character),
        };
        Ok((host, port))
    }

    /// The canonical text. IPv6 addresses are in brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is above the first label: `b.test` of `a.b.test`. `None` if there is only one.
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, parent)| parent)
    }

    /// The address, when this is an address literal and not a name.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.0.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
            None => self.0.parse().ok().map(IpAddr::V4),
        }
    }

    /// The one label this name has in front of `base`: `app` for `app.example.com` under `example.com`.
    ///
    /// `None` for `base` itself, for anything deeper, and for what is no valid [`Label`] (punycode).
    pub fn label_under(&self, base: &Self) -> Option<Label> {
        let label = self.0.strip_suffix(base.as_str())?.strip_suffix('.')?;
        Label::parse(label).ok()
    }

    /// `label` in front of `base`: the inverse of [`label_under`](Self::label_under).
    ///
    /// # Errors
    /// [`HostnameError::TooLong`] over 253 bytes, [`HostnameError::Number`] when `base` is an IPv4
    /// address and [`HostnameError::Character`] when it is an IPv6 one.
    pub fn under(label: &Label, base: &Self) -> Result<Self, HostnameError> {
        Self::parse(&format!("{label}.{base}"))
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Hostname {
    type Err = HostnameError;

    fn from_str(text: &str) -> Result<Self, HostnameError> {
        Self::parse(text)
    }
}

/// Lets a map keyed by `Hostname` be asked with a part of a name, without building one.
impl Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Hostname {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Checks one label of letters, digits and inner hyphens.
pub(crate) fn check_label(label: &str) -> Result<(), HostnameError> {
    match label.as_bytes() {
        [] => Err(HostnameError::EmptyLabel),
        bytes if !bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-') => {
            Err(HostnameError::Character)
        }
        [b'-', ..] | [.., b'-'] => Err(HostnameError::Hyphen),
        bytes if bytes.len() > MAX_LABEL => Err(HostnameError::LabelTooLong),
        _ => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), HostnameError> {
    match name.len() {
        0 => Err(HostnameError::Empty),
        1..=MAX_NAME => name.split('.').try_for_each(check_label),
        _ => Err(HostnameError::TooLong),
    }
}

/// Whether resolvers would read the name as an IPv4 address in one of its many spellings
/// (the WHATWG URL standard's "ends in a number").
fn ends_in_number(lower: &str) -> bool {
    let last = lower.rsplit('.').next().unwrap_or(lower);
    let hex = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    hex || last.bytes().all(|b| b.is_ascii_digit())
}

fn parse_v6(text: &str) -> Result<Hostname, HostnameError> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or(HostnameError::Ipv6)?;
    let address: Ipv6Addr = inner.parse().map_err(|_| HostnameError::Ipv6)?;
    Ok(Hostname(format!("[{address}]").into()))
}

fn parse_port(digits: &str) -> Result<u16, HostnameError> {
    // `u16::from_str` would take a `+`, and zeros without end.
    if digits.len() > 5 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(HostnameError::Port);
    }
    digits.parse().ok().filter(|port| *port != 0).ok_or(HostnameError::Port)
}

#[cfg(test)]
mod tests;
