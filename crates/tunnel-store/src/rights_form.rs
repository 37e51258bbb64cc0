//! Rights, as they are stored: JSON in a column, of texts that people could read and write.
//!
//! What isn't there isn't restricted, so a program that doesn't know a field must not overlook it: unknown ones are an
//! error, and the token then has no rights at all.

use serde::{Deserialize, Serialize};
use tunnel_server::Rights;

use crate::time::{from_seconds, to_seconds};

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Form {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subdomains: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    domains: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kinds: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_ports: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    udp_ports: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tunnels: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_connections: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bandwidth: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    monthly_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
}

/// The column's text.
pub(crate) fn write(rights: &Rights) -> String {
    let form = Form {
        subdomains: rights.subdomains.iter().map(ToString::to_string).collect(),
        domains: rights.domains.iter().map(ToString::to_string).collect(),
        kinds: rights.kinds.iter().map(ToString::to_string).collect(),
        tcp_ports: rights.tcp_ports.as_ref().map(ToString::to_string),
        udp_ports: rights.udp_ports.as_ref().map(ToString::to_string),
        max_tunnels: rights.max_tunnels,
        max_connections: rights.max_connections,
        bandwidth: rights.bandwidth,
        monthly_bytes: rights.monthly_bytes,
        expires: rights.expires.map(to_seconds),
    };
    serde_json::to_string(&form).expect("invariant: plain fields become JSON")
}

/// For the audit log: the same, but for rights of which there is nothing to say.
pub(crate) fn in_words(rights: &Rights) -> String {
    Some(write(rights)).filter(|text| text != "{}").unwrap_or_else(|| "no limits of its own".into())
}

/// The column's meaning, or what is wrong with it.
pub(crate) fn read(text: &str) -> Result<Rights, String> {
    let form: Form = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(Rights {
        subdomains: all(&form.subdomains)?,
        domains: all(&form.domains)?,
        any_domain: false,
        kinds: all(&form.kinds)?,
        tcp_ports: form.tcp_ports.as_deref().map(one).transpose()?,
        udp_ports: form.udp_ports.as_deref().map(one).transpose()?,
        max_tunnels: form.max_tunnels,
        max_connections: form.max_connections,
        bandwidth: form.bandwidth,
        monthly_bytes: form.monthly_bytes,
        expires: form.expires.map(from_seconds),
    })
}

fn all<T: std::str::FromStr<Err: std::fmt::Display>>(texts: &[String]) -> Result<Vec<T>, String> {
    texts.iter().map(|text| one(text)).collect()
}

fn one<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("`{text}`: {error}"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use tunnel_server::TunnelKind;

    use super::*;

    #[test]
    fn rights_are_read_as_they_were_written() {
        let all = Rights {
            subdomains: vec!["dev-*".parse().unwrap()],
            domains: vec!["*.dev.example.com".parse().unwrap()],
            any_domain: false,
            kinds: vec![TunnelKind::Http, TunnelKind::Udp],
            tcp_ports: Some("20000-20009,22022".parse().unwrap()),
            udp_ports: Some("none".parse().unwrap()),
            max_tunnels: Some(3),
            max_connections: Some(0),
            bandwidth: Some(1_000_000),
            monthly_bytes: Some(u64::from(u32::MAX) * 2),
            expires: Some(UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
        };
        assert_eq!(read(&write(&all)), Ok(all));
        assert_eq!(write(&Rights::default()), "{}");
        assert_eq!(read("{}"), Ok(Rights::default()));
    }

    #[test]
    fn what_is_not_understood_is_no_right() {
        for text in [
            "",
            "1",
            r#"{"max_flows":1}"#,
            r#"{"kinds":["ftp"]}"#,
            r#"{"domains":["*"]}"#,
            r#"{"tcp_ports":"x"}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
