//! Tokens and rights from the store's form to the API's and back: the API's is texts, as people write them.

use std::{fmt::Display, str::FromStr};

use tunnel_admin::{RightsChanges, Stamp, Token, TokenRights, TokensError, Usage};
use tunnel_server::{PortSet, ReservedName, Rights};
use tunnel_store::{Change, Changes, Month, TokenRecord};

pub(super) fn token(record: &TokenRecord) -> Token {
    Token {
        id: record.id.to_string(),
        name: record.name.to_string(),
        created: Some(Stamp(record.created)),
        rotated: record.rotated.map(Stamp),
        former_until: record.former_until.map(Stamp),
        rights: rights_in_texts(&record.rights),
        sessions: 0,
    }
}

pub(super) fn usage(record: &TokenRecord, month: Month, used: tunnel_store::Usage) -> Usage {
    Usage {
        token: record.name.to_string(),
        month: month.to_string(),
        bytes_in: used.bytes_in,
        bytes_out: used.bytes_out,
        requests: used.requests,
        connections: used.connections,
        monthly_bytes: record.rights.monthly_bytes,
    }
}

pub(super) fn reserved_name(text: &str) -> Result<ReservedName, TokensError> {
    text.parse()
        .map_err(|why| TokensError::Invalid(format!("`{}` can't be reserved: {why}", text.escape_default())))
}

/// Rights, as the API has them.
pub(in crate::run) fn rights_in_texts(rights: &Rights) -> TokenRights {
    TokenRights {
        subdomains: texts(&rights.subdomains),
        domains: texts(&rights.domains),
        kinds: texts(&rights.kinds),
        tcp_ports: rights.tcp_ports.as_ref().map_or_else(Vec::new, port_texts),
        udp_ports: rights.udp_ports.as_ref().map_or_else(Vec::new, port_texts),
        max_tunnels: rights.max_tunnels.map(u64::from),
        max_connections: rights.max_connections.map(u64::from),
        bandwidth: rights.bandwidth,
        monthly_bytes: rights.monthly_bytes,
        expires: rights.expires.map(Stamp),
    }
}

/// The same back.
pub(super) fn rights(wanted: &TokenRights) -> Result<Rights, TokensError> {
    Ok(Rights {
        subdomains: parsed("subdomain", &wanted.subdomains)?,
        domains: parsed("domain", &wanted.domains)?,
        kinds: parsed("kind", &wanted.kinds)?,
        tcp_ports: ports(&wanted.tcp_ports)?,
        udp_ports: ports(&wanted.udp_ports)?,
        max_tunnels: wanted.max_tunnels.map(number).transpose()?,
        max_connections: wanted.max_connections.map(number).transpose()?,
        bandwidth: wanted.bandwidth,
        monthly_bytes: wanted.monthly_bytes,
        expires: wanted.expires.map(|stamp| stamp.0),
        ..Rights::default()
    })
}

/// Changes, as the API has them.
pub(in crate::run) fn changes_in_texts(changes: &Changes) -> RightsChanges {
    RightsChanges {
        give_subdomains: texts(&changes.give_subdomains),
        take_subdomains: texts(&changes.take_subdomains),
        give_domains: texts(&changes.give_domains),
        take_domains: texts(&changes.take_domains),
        kinds: named(&changes.kinds, |kinds| texts(kinds)),
        tcp_ports: named(&changes.tcp_ports, port_texts),
        udp_ports: named(&changes.udp_ports, port_texts),
        max_tunnels: limited(&changes.max_tunnels, |number| u64::from(*number)),
        max_connections: limited(&changes.max_connections, |number| u64::from(*number)),
        bandwidth: limited(&changes.bandwidth, |bytes| *bytes),
        monthly_bytes: limited(&changes.monthly_bytes, |bytes| *bytes),
        expires: limited(&changes.expires, |at| Stamp(*at)),
    }
}

/// The same back.
pub(super) fn changes(wanted: &RightsChanges) -> Result<Changes, TokensError> {
    Ok(Changes {
        give_subdomains: parsed("subdomain", &wanted.give_subdomains)?,
        take_subdomains: parsed("subdomain", &wanted.take_subdomains)?,
        give_domains: parsed("domain", &wanted.give_domains)?,
        take_domains: parsed("domain", &wanted.take_domains)?,
        kinds: change(wanted.kinds.as_ref(), |kinds| {
            Ok(Some(parsed("kind", kinds)?).filter(|kinds| !kinds.is_empty()))
        })?,
        tcp_ports: change(wanted.tcp_ports.as_ref(), |texts| ports(texts))?,
        udp_ports: change(wanted.udp_ports.as_ref(), |texts| ports(texts))?,
        max_tunnels: change(wanted.max_tunnels, |wanted| wanted.map(number).transpose())?,
        max_connections: change(wanted.max_connections, |wanted| wanted.map(number).transpose())?,
        bandwidth: change(wanted.bandwidth, Ok)?,
        monthly_bytes: change(wanted.monthly_bytes, Ok)?,
        expires: change(wanted.expires, |wanted| Ok(wanted.map(|stamp| stamp.0)))?,
    })
}

/// A list that names all there are, or with none lifts the limit.
fn named<T>(change: &Change<T>, texts: impl FnOnce(&T) -> Vec<String>) -> Option<Vec<String>> {
    match change {
        Change::Keep => None,
        Change::Lift => Some(Vec::new()),
        Change::Set(value) => Some(texts(value)),
    }
}

fn limited<T, U>(change: &Change<T>, value: impl FnOnce(&T) -> U) -> Option<Option<U>> {
    match change {
        Change::Keep => None,
        Change::Lift => Some(None),
        Change::Set(set) => Some(Some(value(set))),
    }
}

fn change<W, T>(
    wanted: Option<W>,
    read: impl FnOnce(W) -> Result<Option<T>, TokensError>,
) -> Result<Change<T>, TokensError> {
    let Some(wanted) = wanted else { return Ok(Change::Keep) };
    Ok(read(wanted)?.map_or(Change::Lift, Change::Set))
}

fn texts(things: &[impl Display]) -> Vec<String> {
    things.iter().map(ToString::to_string).collect()
}

fn port_texts(ports: &PortSet) -> Vec<String> {
    ports.to_string().split(',').map(str::to_owned).collect()
}

fn parsed<T: FromStr<Err: Display>>(what: &str, texts: &[String]) -> Result<Vec<T>, TokensError> {
    let parse = |text: &String| {
        text.parse().map_err(|why| {
            TokensError::Invalid(format!("the {what} `{}` can't be had: {why}", text.escape_default()))
        })
    };
    texts.iter().map(parse).collect()
}

/// None named: all.
fn ports(texts: &[String]) -> Result<Option<PortSet>, TokensError> {
    if texts.is_empty() {
        return Ok(None);
    }
    let ports = texts.join(",");
    ports.parse().map(Some).map_err(|why| {
        TokensError::Invalid(format!("the ports `{}` can't be had: {why}", ports.escape_default()))
    })
}

fn number(wanted: u64) -> Result<u32, TokensError> {
    u32::try_from(wanted).map_err(|_| TokensError::Invalid(format!("{wanted} is more than can be counted")))
}
