//! Where a server is, as people write it: `vps.example.com`, `vps:4444`, `[2001:db8::1]:4444`.
//!
//! Parsing refuses everything TLS or DNS could not use later, so that a typing mistake is reported as one, at
//! once, and not as a failed connection.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use rustls::pki_types::ServerName;

/// The port a server listens on for clients when none is written.
pub const DEFAULT_PORT: u16 = 4444;

/// A server's host (a DNS name or an IP address) and port; never empty, never port 0.
///
/// `Display` writes what `FromStr` reads, always with the port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    host: String,
    port: u16,
}

impl ServerAddress {
    /// Joins a host and a port. An IPv6 host is given without brackets.
    ///
    /// # Errors
    ///
    /// [`AddressError`] when the host is neither a DNS name nor an IP address, or the port is 0.
    pub fn new(host: impl Into<String>, port: u16) -> Result<Self, AddressError> {
        let host = host.into();
        if host.is_empty() {
            return Err(AddressError::NoHost);
        }
        if !host.is_ascii() {
            return Err(AddressError::NotAscii);
        }
        if port == 0 {
            return Err(AddressError::Port);
        }
        let address = Self { host, port };
        match address.parse_name() {
            Some(_) => Ok(address),
            None => Err(AddressError::Host(address.host)),
        }
    }

    /// The host: a DNS name, or an IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port, 1 to 65535.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, if the host is one; a zone is left out, as it means nothing on other machines.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        parse_v6(&self.host).map(IpAddr::V6).or_else(|| self.host.parse().ok())
    }

    /// What the server's certificate must be for, unless its key is pinned.
    pub(crate) fn server_name(&self) -> ServerName<'static> {
        self.parse_name().expect("invariant: `new` refuses hosts that are no server name")
    }

    fn parse_name(&self) -> Option<ServerName<'static>> {
        let host = parse_v6(&self.host).map_or_else(|| self.host.clone(), |v6| v6.to_string());
        ServerName::try_from(host).ok()
    }
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    /// Reads `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address; the port defaults to
    /// [`DEFAULT_PORT`].
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::read(text, DEFAULT_PORT)
    }
}

impl ServerAddress {
    /// As `FromStr`, with another default port.
    pub(crate) fn read(text: &str, default_port: u16) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.contains('/') {
            return Err(AddressError::Url);
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(|| AddressError::Host(text.to_owned()))?;
            if parse_v6(host).is_none() {
                return Err(AddressError::Host(text.to_owned()));
            }
            let port = match rest.strip_prefix(':') {
                Some(port) => parse_port(port)?,
                None if rest.is_empty() => default_port,
                None => return Err(AddressError::Host(text.to_owned())),
            };
            return Self::new(host, port);
        }
        if parse_v6(text).is_some() {
            return Self::new(text, default_port);
        }
        match text.split_once(':') {
            Some((host, port)) => Self::new(host, parse_port(port)?),
            None => Self::new(text, default_port),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why a text is no [`ServerAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing before the port.
    #[error("the server address has no host; write it as `host` or `host:port`")]
    NoHost,
    /// The host is neither a DNS name nor an IP address.
    #[error("`{0}` is neither a host name nor an IP address; write it as `host:port` or `[ipv6]:port`")]
    Host(String),
    /// Not a number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// A whole URL, or a path.
    #[error("write the server as `host` or `host:port`, without `https://` or a path")]
    Url,
    /// An internationalised name in its readable form.
    #[error("write an internationalised host name in its `xn--` form")]
    NotAscii,
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    // `u16::from_str` takes "+1"; nobody means that.
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AddressError::Port);
    }
    text.parse().map_err(|_| AddressError::Port)
}

/// An IPv6 address with or without a zone (`fe80::1%eth0`): the zone matters to the socket only.
fn parse_v6(host: &str) -> Option<Ipv6Addr> {
    let address = host.split_once('%').map_or(host, |(address, _zone)| address);
    match address.parse() {
        Ok(IpAddr::V6(v6)) => Some(v6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_an_address() {
        for (text, host, port, shown) in [
            ("vps", "vps", 4444, "vps:4444"),
            ("vps:80", "vps", 80, "vps:80"),
            (" my_vps.example.com ", "my_vps.example.com", 4444, "my_vps.example.com:4444"),
            ("192.0.2.1:1", "192.0.2.1", 1, "192.0.2.1:1"),
            ("[::1]:65535", "::1", 65535, "[::1]:65535"),
            ("[::1]", "::1", 4444, "[::1]:4444"),
            ("2001:db8::1", "2001:db8::1", 4444, "[2001:db8::1]:4444"),
            ("[fe80::1%eth0]:9", "fe80::1%eth0", 9, "[fe80::1%eth0]:9"),
        ] {
            let address: ServerAddress = text.parse().expect(text);
            assert_eq!((address.host(), address.port()), (host, port), "{text}");
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse(), Ok(address));
        }
    }

    #[test]
    fn mistakes_are_named() {
        use AddressError::{Host, NoHost, NotAscii, Port, Url};
        for (text, error) in [
            ("", NoHost),
            (":80", NoHost),
            ("https://vps", Url),
            ("vps/x", Url),
            ("vps:", Port),
            ("vps:0", Port),
            ("vps:65536", Port),
            ("vps:+1", Port),
            ("vps:80:90", Port),
            ("münchen.example", NotAscii),
            ("a b", Host("a b".into())),
            ("[::1", Host("[::1".into())),
            ("[vps]:80", Host("[vps]:80".into())),
            ("[::1]80", Host("[::1]80".into())),
        ] {
            assert_eq!(text.parse::<ServerAddress>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_zone_is_no_part_of_the_certificate_name() {
        let address: ServerAddress = "[fe80::1%eth0]:9".parse().unwrap();
        assert_eq!(address.server_name(), ServerName::try_from("fe80::1").unwrap());
    }
}
