//! Texts to values, for the kinds that flags have in common.

use std::{
    net::IpAddr,
    path::{Path, PathBuf, absolute},
    time::Duration,
};

use ipnet::IpNet;
use tunnel_client::{Upstream, UpstreamError};
use tunnel_server::Hostname;

use crate::args::Ports;

/// `10s`, `1m30s`, `500ms`; a bare number is in seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let duration =
        humantime::parse_duration(text).map_err(|_| "write a time such as `10s`, `500ms` or `1m30s`")?;
    if duration > LONGEST {
        return Err("longer than a year".into());
    }
    Ok(duration)
}

/// An upstream, or the name of a directory that is there.
pub(crate) fn upstream(text: &str) -> Result<Upstream, UpstreamError> {
    let read = text.parse::<Upstream>();
    let directory = match &read {
        Ok(upstream) => upstream.as_directory().map(Path::to_owned),
        Err(UpstreamError::Invalid(_)) => Some(PathBuf::from(text)).filter(|path| path.is_dir()),
        Err(_) => None,
    };
    match directory {
        // Its name must mean the same to the memory of names, wherever the next command is typed.
        Some(directory) => Upstream::directory(absolute(&directory).unwrap_or(directory)),
        None => read,
    }
}

/// `20000-29999`, or `none`.
pub(crate) fn ports(text: &str) -> Result<Ports, String> {
    if text == "none" {
        return Ok(Ports(None));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(Ports(Some(first..=last))),
        _ => Err("write a range such as `20000-29999`, within 1 to 65535, or `none`".into()),
    }
}

/// A domain, as a host name without a port.
pub(crate) fn domain(text: &str) -> Result<Hostname, String> {
    let name = Hostname::parse(text).map_err(|error| error.to_string())?;
    if name.ip().is_some() {
        return Err("an IP address has no subdomains; write a domain such as `vps.example.com`".into());
    }
    Ok(name)
}

/// `10.0.0.0/8`, or one address.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let one = text.parse::<IpAddr>().map(IpNet::from);
    one.or_else(|_| text.parse()).map_err(|_| "write a network such as `10.0.0.0/8`, or an address".into())
}

fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// Longer waits are typing mistakes, and clocks overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("10s", 10_000),
            ("0", 0),
            ("0s", 0),
            ("15", 15_000),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("1m30s", 90_000),
        ] {
            assert_eq!(duration(text).unwrap().as_millis(), millis, "{text}");
        }
        for text in ["", "-1s", "ten", "10 parsecs", "5years", "1h30"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn upstreams() {
        let here = absolute("src").unwrap();
        for (text, expected) in [
            ("3000", "localhost:3000"),
            ("https://nas", "https://nas:443"),
            ("./src", here.to_str().unwrap()),
            ("src", here.to_str().unwrap()),
            ("./none/", absolute("none").unwrap().to_str().unwrap()),
        ] {
            assert_eq!(upstream(text).unwrap().to_string().trim_end_matches('/'), expected, "{text}");
        }
        for text in ["none", "localhost", "Cargo.toml", ""] {
            assert!(upstream(text).is_err(), "{text}");
        }
    }

    #[test]
    fn port_ranges() {
        for (text, expected) in [
            ("20000-29999", Some(20_000..=29_999)),
            ("80", Some(80..=80)),
            ("1-65535", Some(1..=65_535)),
            ("none", None),
        ] {
            assert_eq!(ports(text).unwrap(), Ports(expected), "{text}");
        }
        for text in ["", "0-10", "9-1", "1-65536", "a-b", "1-2-3", "+1-2", "-", "1-"] {
            assert!(ports(text).is_err(), "{text}");
        }
    }

    #[test]
    fn domains_and_networks() {
        assert_eq!(domain("VPS.example.com").unwrap().as_str(), "vps.example.com");
        for text in ["", "a b", "127.0.0.1", "[::1]", "http://x", "x:80"] {
            assert!(domain(text).is_err(), "{text}");
        }
        assert_eq!(network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
        assert_eq!(network("fd00::/8").unwrap().to_string(), "fd00::/8");
        assert!(network("10.0.0.0/33").is_err());
    }
}
