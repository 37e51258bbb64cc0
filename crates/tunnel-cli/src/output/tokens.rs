//! A token, as it is listed and shown.

use std::time::SystemTime;

use serde_json::{Value, json};
use tunnel_admin::{Stamp, Token, TokenInFull, TokenRights, Usage};

/// One line: what it may do comes last, if anything was said of that.
pub(crate) fn line(token: &Token) -> String {
    let mut line = format!("{}  {}  {}", token.id, created(token), token.name);
    for (what, value) in rights(&token.rights) {
        line += &format!("  {what}: {value}");
    }
    line
}

/// Everything about it, line by line.
pub(crate) fn lines(TokenInFull { token, reserved, usage }: &TokenInFull) -> Vec<String> {
    let mut lines = vec![
        format!("name: {}", token.name),
        format!("id: {}", token.id),
        format!("created: {}", created(token)),
    ];
    lines.extend(token.rotated.map(|at| format!("rotated: {}", time(at))));
    let former = token.former_until.filter(|until| until.0 > SystemTime::now());
    lines.extend(former.map(|until| format!("former secret taken until: {}", time(until))));
    lines.extend(rights(&token.rights).into_iter().map(|(what, value)| format!("{what}: {value}")));
    lines.extend(reserved.iter().map(|name| format!("reserved: {name}")));
    lines.extend(usage.iter().map(|used| {
        format!(
            "used in {}: {} bytes from visitors, {} to them, {} requests, {} connections",
            used.month, used.bytes_in, used.bytes_out, used.requests, used.connections
        )
    }));
    lines
}

/// The same for programs.
pub(crate) fn json_in_full(TokenInFull { token, reserved, usage }: &TokenInFull) -> Value {
    let mut value = json(token);
    if !usage.is_empty() {
        let month = |used: &Usage| {
            json!({
                "month": used.month,
                "bytes_in": used.bytes_in,
                "bytes_out": used.bytes_out,
                "requests": used.requests,
                "connections": used.connections,
            })
        };
        value["usage"] = usage.iter().map(month).collect();
    }
    if !reserved.is_empty() {
        value["reserved"] = reserved.clone().into();
    }
    value
}

/// A token in a list for programs.
pub(crate) fn json(token: &Token) -> Value {
    let rights = &token.rights;
    json!({
        "id": token.id,
        "name": token.name,
        "created": token.created.map(time),
        "rotated": token.rotated.map(time),
        "former_until": token.former_until.map(time),
        "rights": {
            "subdomains": rights.subdomains,
            "domains": rights.domains,
            "kinds": rights.kinds,
            "tcp_ports": joined(&rights.tcp_ports, ","),
            "udp_ports": joined(&rights.udp_ports, ","),
            "max_tunnels": rights.max_tunnels,
            "max_connections": rights.max_connections,
            "bandwidth": rights.bandwidth,
            "monthly_bytes": rights.monthly_bytes,
            "expires": rights.expires.map(time),
        },
    })
}

/// What was said of its rights, in the words of the flags.
fn rights(rights: &TokenRights) -> Vec<(&'static str, String)> {
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    let texts = [
        ("subdomains", joined(&rights.subdomains, ", ")),
        ("domains", joined(&rights.domains, ", ")),
        ("kinds", joined(&rights.kinds, ", ")),
        ("tcp-ports", joined(&rights.tcp_ports, ",")),
        ("udp-ports", joined(&rights.udp_ports, ",")),
        ("max-tunnels", number(rights.max_tunnels)),
        ("max-connections", number(rights.max_connections)),
        ("bandwidth", rights.bandwidth.map(|bytes| format!("{bytes} B/s"))),
        ("monthly-bytes", rights.monthly_bytes.map(|bytes| format!("{bytes} B"))),
        ("expires", rights.expires.map(time)),
    ];
    texts.into_iter().filter_map(|(what, text)| Some((what, text?))).collect()
}

fn joined(texts: &[String], between: &str) -> Option<String> {
    (!texts.is_empty()).then(|| texts.join(between))
}

fn created(token: &Token) -> String {
    token.created.map_or_else(|| "-".into(), time)
}

fn time(Stamp(at): Stamp) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}
