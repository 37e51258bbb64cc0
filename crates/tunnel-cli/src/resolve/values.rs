//! Texts to values, for the kinds that flags have in common.

use std::{
    net::IpAddr,
    path::{Path, PathBuf, absolute},
    time::Duration,
};

use ipnet::IpNet;
use tunnel_client::{Policies, PolicyError, Upstream, UpstreamError};
use tunnel_server::Hostname;

use super::policies::{self, Rate};
use crate::args::{Allowance, MemoryBudget, Ports, SecretText};

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

/// `USER:PASSWORD`.
pub(crate) fn login(text: &str) -> Result<SecretText, PolicyError> {
    Policies::new().basic_auth(text).map(|_| SecretText::from(text.to_owned()))
}

/// An upstream, or the name of a directory that is there.
pub(crate) fn upstream(text: &str) -> Result<Upstream, String> {
    let read = text.parse::<Upstream>();
    let directory = match &read {
        Ok(upstream) => upstream.as_directory().map(Path::to_owned),
        Err(_) => Some(PathBuf::from(text)).filter(|path| path.is_dir()),
    };
    let read = match directory {
        // Its name must mean the same to the memory of names, wherever the next command is typed.
        Some(directory) => Upstream::directory(absolute(&directory).unwrap_or(directory)),
        None => read,
    };
    read.map_err(|error| match error {
        UpstreamError::NoPort(host) => {
            format!("`{host}` has no port, and there is no such directory; write `{host}:3000`")
        }
        error => error.to_string(),
    })
}

/// The path of a web tunnel. What else is wrong with it the server says.
pub(crate) fn path(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("write a path such as `/api`") }
}

/// A port to listen on.
pub(crate) fn any_port(text: &str) -> Result<u16, &'static str> {
    text.parse().map_err(|_| "write a port, from 0 to 65535")
}

/// A port that others know.
pub(crate) fn one_port(text: &str) -> Result<u16, &'static str> {
    port(text).ok_or("write a port, from 1 to 65535")
}

/// How many at most.
pub(crate) fn count(text: &str) -> Result<u32, &'static str> {
    text.parse().ok().filter(|count| *count > 0).ok_or("write a whole number, 1 or more")
}

/// An address to listen on.
pub(crate) fn address(text: &str) -> Result<IpAddr, &'static str> {
    text.parse().map_err(|_| "write an IP address such as `127.0.0.1`, or `::` for all")
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

/// `3000/10s`, `100/s`, or `none`.
pub(crate) fn allowance(text: &str) -> Result<Allowance, String> {
    if text == "none" {
        return Ok(Allowance(None));
    }
    let Rate { count, per } = Rate::read(text)?;
    Ok(Allowance(Some(tunnel_server::Rate { count, per })))
}

/// `512MiB`, `1.5GB`, `auto`, or `none`.
pub(crate) fn memory(text: &str) -> Result<MemoryBudget, String> {
    match text {
        "auto" => Ok(MemoryBudget::Auto),
        "none" => Ok(MemoryBudget::Bytes(None)),
        _ => match policies::bytes(text).filter(|bytes| *bytes >= LEAST_MEMORY) {
            Some(bytes) => Ok(MemoryBudget::Bytes(Some(bytes))),
            None => Err("write a size such as `512MiB` or `2GB`, at least 32MiB, `auto` or `none`".into()),
        },
    }
}

/// A share from 0 to 1, in millionths.
#[cfg(feature = "otel")]
pub(crate) fn share(text: &str) -> Result<u32, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let millionths = format!("{whole}{fraction:0<6}");
    let is_plain = !whole.is_empty() && millionths.bytes().all(|byte| byte.is_ascii_digit());
    let share =
        millionths.parse().ok().filter(|share| is_plain && fraction.len() <= 6 && *share <= 1_000_000);
    share.ok_or_else(|| "write a share from 0 to 1, of six digits at most: `0.01` is one of a hundred".into())
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

/// What a server without visitors needs.
const LEAST_MEMORY: u64 = 32 << 20;

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
    fn allowances() {
        let rate = |count, seconds| {
            Allowance(Some(tunnel_server::Rate { count, per: Duration::from_secs(seconds) }))
        };
        for (text, expected) in [
            ("100/s", rate(100, 1)),
            ("60/m", rate(60, 60)),
            ("3000/10s", rate(3000, 10)),
            ("1/2m", rate(1, 120)),
            ("none", Allowance(None)),
        ] {
            assert_eq!(allowance(text).unwrap(), expected, "{text}");
        }
        for text in ["", "10", "0/s", "-1/s", "10/0s", "10/", "10/2days", "10/10", "ten/s"] {
            assert!(allowance(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_of_memory() {
        for (text, expected) in [
            ("512MiB", MemoryBudget::Bytes(Some(512 << 20))),
            ("1.5GB", MemoryBudget::Bytes(Some(1_500_000_000))),
            ("auto", MemoryBudget::Auto),
            ("none", MemoryBudget::Bytes(None)),
        ] {
            assert_eq!(memory(text).unwrap(), expected, "{text}");
        }
        for text in ["", "512", "1MiB", "512MiB/s", "-1GB", "1TB", "half"] {
            assert!(memory(text).is_err(), "{text}");
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
