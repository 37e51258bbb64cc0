//! Texts to rights: each a value, or `any` for none.

use std::time::{Duration, SystemTime};

use tunnel_server::{PortSet, ReservedName, Rights, TunnelKind};
use tunnel_store::{Change, Changes};

use super::policies;
use crate::args::RightsArgs;

/// `http,tcp`.
pub(crate) fn kinds(text: &str) -> Result<Change<Vec<TunnelKind>>, String> {
    or_any(text, |text| text.split(',').map(|kind| kind.trim().parse::<TunnelKind>()).collect())
}

/// `20000-20009,22022`, or `none`.
pub(crate) fn ports(text: &str) -> Result<Change<PortSet>, String> {
    or_any(text, str::parse)
}

/// At least 1: who may have none has no use for a token.
pub(crate) fn number(text: &str) -> Result<Change<u32>, String> {
    or_any(text, |text| match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("write a number from 1, or `any`"),
    })
}

/// `10MB/s`.
pub(crate) fn bandwidth(text: &str) -> Result<Change<u64>, String> {
    or_any(text, policies::bandwidth)
}

/// `100GB`, as a bandwidth without its second.
pub(crate) fn bytes(text: &str) -> Result<Change<u64>, String> {
    or_any(text, |text| {
        let bytes = policies::bandwidth(&format!("{text}/s"));
        bytes.map_err(|_| "write a number of bytes such as `500MB` or `100GiB`, or `any`")
    })
}

/// `30d` from now, `2027-01-31` or `2027-01-31T12:00:00Z`, or `never`.
pub(crate) fn expiry(text: &str) -> Result<Change<SystemTime>, String> {
    const FORMS: &str = "write a time such as `30d`, a day such as `2027-01-31` (UTC), or `never`";
    if text == "never" {
        return Ok(Change::Lift);
    }
    or_any(text, |text| {
        if let Ok(after) = humantime::parse_duration(text) {
            return Some(after)
                .filter(|after| *after <= LONGEST)
                .map(|after| SystemTime::now() + after)
                .ok_or(FORMS);
        }
        let day = format!("{text}T00:00:00Z");
        humantime::parse_rfc3339(text).or_else(|_| humantime::parse_rfc3339(&day)).map_err(|_| FORMS)
    })
}

/// What can be reserved.
pub(crate) fn reserved(text: &str) -> Result<ReservedName, String> {
    text.parse().map_err(|error: tunnel_server::ParseReservedError| {
        std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
    })
}

impl RightsArgs {
    /// What is to change, but for what is taken.
    pub(crate) fn changes(self) -> Changes {
        Changes {
            give_subdomains: self.subdomain,
            give_domains: self.domain,
            kinds: self.kind.unwrap_or_default(),
            tcp_ports: self.tcp_ports.unwrap_or_default(),
            udp_ports: self.udp_ports.unwrap_or_default(),
            max_tunnels: self.max_tunnels.unwrap_or_default(),
            max_connections: self.max_connections.unwrap_or_default(),
            bandwidth: self.bandwidth.unwrap_or_default(),
            monthly_bytes: self.monthly_bytes.unwrap_or_default(),
            expires: self.expires.unwrap_or_default(),
            ..Changes::default()
        }
    }

    /// The rights of a new token.
    pub(crate) fn rights(self) -> Rights {
        self.changes().rights()
    }
}

fn or_any<T, E: ToString>(text: &str, read: impl FnOnce(&str) -> Result<T, E>) -> Result<Change<T>, String> {
    if text == "any" {
        return Ok(Change::Lift);
    }
    read(text).map(Change::Set).map_err(|error| error.to_string())
}

/// Later is never.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_right_is_a_value_or_any() {
        assert_eq!(kinds("http,udp").unwrap(), Change::Set(vec![TunnelKind::Http, TunnelKind::Udp]));
        assert_eq!(kinds("any").unwrap(), Change::Lift);
        assert_eq!(number("3").unwrap(), Change::Set(3));
        assert_eq!(number("any").unwrap(), Change::Lift);
        assert_eq!(bytes("100GB").unwrap(), Change::Set(100_000_000_000));
        assert_eq!(bytes("1KiB").unwrap(), Change::Set(1024));
        assert_eq!(bandwidth("1MB/s").unwrap(), Change::Set(1_000_000));
        assert!(matches!(ports("none").unwrap(), Change::Set(ports) if ports.count() == 0));
        assert_eq!(expiry("never").unwrap(), Change::Lift);
        let day = SystemTime::UNIX_EPOCH + Duration::from_secs(1_801_353_600);
        assert_eq!(expiry("2027-01-31").unwrap(), Change::Set(day));
        assert_eq!(expiry("2027-01-31T00:00:00Z").unwrap(), Change::Set(day));
        assert!(matches!(expiry("30d").unwrap(), Change::Set(at) if at > SystemTime::now()));
        for (read, text) in [
            (kinds("ftp").is_err(), "ftp"),
            (number("0").is_err(), "0"),
            (bytes("lots").is_err(), "lots"),
            (ports("0").is_err(), "0"),
            (expiry("2027-13-01").is_err(), "2027-13-01"),
            (expiry("1000years").is_err(), "1000years"),
            (reserved("20022").is_err(), "20022"),
        ] {
            assert!(read, "{text}");
        }
    }
}
