//! What a tunnel forwards to. Only the client's own configuration ever says where: nothing on the wire can.

use std::{fmt, net::SocketAddr, str::FromStr};

use crate::UpstreamError;

/// A local service, reached by TCP: made from a port, `host:port`, or `http://host:port`.
///
/// `Display` writes `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    host: String,
    port: u16,
}

impl Upstream {
    /// The host: a name or an IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port, 1 to 65535.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Upstream {
    type Err = UpstreamError;

    /// Reads `3000`, `host:3000`, `[::1]:3000`, `http://host:3000` or `http://host` (port 80). A port alone means
    /// `localhost`.
    fn from_str(text: &str) -> Result<Self, UpstreamError> {
        let text = text.trim();
        let invalid = || UpstreamError::Invalid(text.chars().take(100).collect());
        let (authority, default_port) = match text.split_once("://") {
            Some(("http", rest)) => (without_path(rest)?, Some(80)),
            Some(("https", _)) => return Err(UpstreamError::NotSupported("https")),
            Some(("unix", _)) => return Err(UpstreamError::NotSupported("unix socket")),
            Some(("udp", _)) => return Err(UpstreamError::NotSupported("udp")),
            Some(("tcp", rest)) => (rest, None),
            Some(_) => return Err(invalid()),
            None if text.starts_with("unix:") => return Err(UpstreamError::NotSupported("unix socket")),
            None if text.starts_with('/') => return Err(UpstreamError::NotSupported("file and socket path")),
            None => (text, None),
        };
        if let Ok(port) = authority.parse::<u16>() {
            return Self::new("localhost", port).ok_or_else(invalid);
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, default_port),
            Some((host, rest)) => (host, rest.strip_prefix(':').and_then(|port| port.parse().ok())),
            None => match authority.split_once(':') {
                Some((host, port)) => (host, port.parse().ok()),
                None => (authority, default_port),
            },
        };
        port.and_then(|port| Self::new(host, port)).ok_or_else(invalid)
    }
}

impl Upstream {
    fn new(host: &str, port: u16) -> Option<Self> {
        let v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
        let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        let fits = !host.is_empty() && host.len() <= 253 && port != 0 && (v6 || plain);
        fits.then(|| Self { host: host.to_owned(), port })
    }
}

fn without_path(rest: &str) -> Result<&str, UpstreamError> {
    match rest.find(['/', '?', '#']) {
        None => Ok(rest),
        Some(at) if &rest[at..] == "/" => Ok(&rest[..at]),
        Some(at) => Err(UpstreamError::Path(rest[at..].chars().take(100).collect())),
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<SocketAddr> for Upstream {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl TryFrom<u16> for Upstream {
    type Error = UpstreamError;
    fn try_from(port: u16) -> Result<Self, UpstreamError> {
        Self::new("localhost", port).ok_or_else(|| UpstreamError::Invalid(port.to_string()))
    }
}

impl TryFrom<&str> for Upstream {
    type Error = UpstreamError;
    fn try_from(text: &str) -> Result<Self, UpstreamError> {
        text.parse()
    }
}

impl TryFrom<String> for Upstream {
    type Error = UpstreamError;
    fn try_from(text: String) -> Result<Self, UpstreamError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_people_write() {
        for (text, expected) in [
            ("3000", "localhost:3000"),
            (" 3000\n", "localhost:3000"),
            ("localhost:3000", "localhost:3000"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:8080", "[::1]:8080"),
            ("http://localhost:5173", "localhost:5173"),
            ("http://localhost:5173/", "localhost:5173"),
            ("http://nas.lan", "nas.lan:80"),
            ("http://[::1]", "[::1]:80"),
            ("tcp://db:5432", "db:5432"),
            ("my_container:80", "my_container:80"),
        ] {
            let upstream = text.parse::<Upstream>().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(upstream.to_string(), expected, "{text}");
            assert_eq!(upstream.to_string().parse(), Ok(upstream), "{text} again");
        }
    }

    #[test]
    fn everything_else_is_refused_with_a_reason() {
        for text in
            ["", "localhost", "0", "65536", "host:", ":80", "host:x", "a b:80", "ftp://x:1", "[::1", "::1:80"]
        {
            assert!(matches!(text.parse::<Upstream>(), Err(UpstreamError::Invalid(_))), "{text}");
        }
        for text in ["https://x:1", "unix:/run/x", "unix:///run/x", "/run/x", "udp://x:1"] {
            assert!(matches!(text.parse::<Upstream>(), Err(UpstreamError::NotSupported(_))), "{text}");
        }
        assert_eq!("http://x:1/api".parse::<Upstream>(), Err(UpstreamError::Path("/api".into())));
    }
}
