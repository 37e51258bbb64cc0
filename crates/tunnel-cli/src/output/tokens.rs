//! A token, as it is listed and shown.

use std::time::SystemTime;

use serde_json::{Value, json};
use tunnel_server::Rights;
use tunnel_store::{MonthUsage, Reservation, TokenRecord};

/// One line: what it may do comes last, if anything was said of that.
pub(crate) fn line(record: &TokenRecord) -> String {
    let mut line = format!("{}  {}  {}", record.id, time(record.created), record.name);
    for (what, value) in rights(&record.rights) {
        line += &format!("  {what}: {value}");
    }
    line
}

/// Everything about it, line by line.
pub(crate) fn lines(record: &TokenRecord, usage: &[MonthUsage], reserved: &[Reservation]) -> Vec<String> {
    let mut lines = vec![
        format!("name: {}", record.name),
        format!("id: {}", record.id),
        format!("created: {}", time(record.created)),
    ];
    lines.extend(record.rotated.map(|at| format!("rotated: {}", time(at))));
    let former = record.former_until.filter(|until| *until > SystemTime::now());
    lines.extend(former.map(|until| format!("former secret taken until: {}", time(until))));
    lines.extend(rights(&record.rights).into_iter().map(|(what, value)| format!("{what}: {value}")));
    lines.extend(reserved.iter().map(|reserved| format!("reserved: {}", reserved.name)));
    lines.extend(usage.iter().map(|MonthUsage { month, usage, .. }| {
        format!(
            "used in {month}: {} bytes from visitors, {} to them, {} requests, {} connections",
            usage.received, usage.sent, usage.requests, usage.connections
        )
    }));
    lines
}

/// The same for programs.
pub(crate) fn json(record: &TokenRecord, usage: &[MonthUsage], reserved: &[Reservation]) -> Value {
    let Rights { subdomains, domains, kinds, tcp_ports, udp_ports, .. } = &*record.rights;
    let texts = |all: &mut dyn Iterator<Item = String>| all.collect::<Vec<_>>();
    let mut token = json!({
        "id": record.id.to_string(),
        "name": &*record.name,
        "created": time(record.created),
        "rotated": record.rotated.map(time),
        "former_until": record.former_until.map(time),
        "rights": {
            "subdomains": texts(&mut subdomains.iter().map(ToString::to_string)),
            "domains": texts(&mut domains.iter().map(ToString::to_string)),
            "kinds": texts(&mut kinds.iter().map(ToString::to_string)),
            "tcp_ports": tcp_ports.as_ref().map(ToString::to_string),
            "udp_ports": udp_ports.as_ref().map(ToString::to_string),
            "max_tunnels": record.rights.max_tunnels,
            "max_connections": record.rights.max_connections,
            "bandwidth": record.rights.bandwidth,
            "monthly_bytes": record.rights.monthly_bytes,
            "expires": record.rights.expires.map(time),
        },
    });
    if !usage.is_empty() {
        let month = |MonthUsage { month, usage, .. }: &MonthUsage| {
            json!({
                "month": month.to_string(),
                "received": usage.received,
                "sent": usage.sent,
                "requests": usage.requests,
                "connections": usage.connections,
            })
        };
        token["usage"] = usage.iter().map(month).collect();
    }
    if !reserved.is_empty() {
        token["reserved"] = reserved.iter().map(|reserved| reserved.name.to_string()).collect();
    }
    token
}

/// What was said of its rights, in the words of the flags.
fn rights(rights: &Rights) -> Vec<(&'static str, String)> {
    let listed = |all: Vec<String>| Some(all.join(", ")).filter(|text| !text.is_empty());
    let number = |value: Option<u32>| value.map(|value| value.to_string());
    let texts = [
        ("subdomains", listed(rights.subdomains.iter().map(ToString::to_string).collect())),
        ("domains", listed(rights.domains.iter().map(ToString::to_string).collect())),
        ("kinds", listed(rights.kinds.iter().map(ToString::to_string).collect())),
        ("tcp-ports", rights.tcp_ports.as_ref().map(ToString::to_string)),
        ("udp-ports", rights.udp_ports.as_ref().map(ToString::to_string)),
        ("max-tunnels", number(rights.max_tunnels)),
        ("max-connections", number(rights.max_connections)),
        ("bandwidth", rights.bandwidth.map(|bytes| format!("{bytes} B/s"))),
        ("monthly-bytes", rights.monthly_bytes.map(|bytes| format!("{bytes} B"))),
        ("expires", rights.expires.map(time)),
    ];
    texts.into_iter().filter_map(|(what, text)| Some((what, text?))).collect()
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}
