//! What a running server says of itself, for people.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use tunnel_admin::{Session, SettingsFault, Stamp, Status, Tunnel};
use tunnel_protocol::text::is_hidden;

/// A value as JSON, for scripts.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"))
}

/// `tunnel status`.
pub(crate) fn status(status: &Status) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{}: {}, up for {}, version {}",
            status.domain,
            status.state,
            ago(status.started),
            status.version
        ),
        format!(
            "{}, {}, {}",
            count(status.sessions, "client"),
            count(status.tunnels, "tunnel"),
            count(status.visitors, "visitor")
        ),
        format!(
            "since the start: {} requests, {} TCP visitors, {} UDP flows; {} bytes from visitors, {} to them",
            status.requests, status.tcp_visitors, status.udp_flows, status.bytes_in, status.bytes_out
        ),
    ];
    if !status.refusals.is_empty() {
        let refusals: Vec<_> =
            status.refusals.iter().map(|(code, count)| format!("{code} {count}")).collect();
        lines.push(format!("refused: {}", refusals.join(", ")));
    }
    if let Some(SettingsFault { since, reason }) = &status.settings_fault {
        let reason = printable(reason);
        lines.push(format!("settings, for {}: {reason}; those from before go on", ago(*since)));
    }
    lines
}

/// A session in one line.
pub(crate) fn session(session: &Session) -> String {
    format!(
        "{}: {} of `{}`, from {}",
        session.id,
        printable(&session.machine),
        printable(&session.token),
        session.address
    )
}

/// `tunnel ps`.
pub(crate) fn processes(sessions: &[Session], tunnels: &[Tunnel]) -> Vec<String> {
    if sessions.is_empty() && tunnels.is_empty() {
        return vec!["nobody is here; on a laptop: tunnel http 3000".into()];
    }
    let mut rows =
        vec![["SESSION", "TOKEN", "MACHINE", "ADDRESS", "SINCE", "RTT"].map(str::to_owned).to_vec()];
    rows.extend(sessions.iter().map(|session| {
        vec![
            session.id.clone(),
            printable(&session.token),
            printable(&session.machine),
            session.address.to_string(),
            ago(session.since),
            session.rtt_ms.map_or("-".into(), |rtt| format!("{rtt:.1} ms")),
        ]
    }));
    let mut lines = columns(&rows);
    let mut rows = vec![
        ["URL", "STATE", "VISITORS", "VISITS", "TOKEN", "SESSION", "UPSTREAM"].map(str::to_owned).to_vec(),
    ];
    rows.extend(tunnels.iter().flat_map(|tunnel| {
        let row = |session: &str, upstream: &str| {
            vec![
                printable(&tunnel.url),
                tunnel.state.clone(),
                tunnel.visitors.to_string(),
                (tunnel.requests + tunnel.connections).to_string(),
                printable(&tunnel.token),
                session.to_owned(),
                printable(upstream),
            ]
        };
        match tunnel.members.as_slice() {
            [] => vec![row("-", "-")],
            members => members.iter().map(|member| row(&member.session, &member.upstream)).collect(),
        }
    }));
    lines.push(String::new());
    lines.extend(columns(&rows));
    lines
}

/// Cells under each other, two spaces apart.
fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..rows.first().map_or(0, Vec::len)).map(widest).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// What a client says of itself, harmless in a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|char| if is_hidden(char) { '?' } else { char }).collect()
}

fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// How long ago, in whole seconds; in the two largest units.
fn ago(since: Stamp) -> String {
    let age = SystemTime::now().duration_since(since.0).unwrap_or_default();
    let seconds = age.as_secs();
    let rounded = match seconds {
        0..3600 => seconds,
        3600..86_400 => seconds / 60 * 60,
        _ => seconds / 3600 * 3600,
    };
    humantime::format_duration(Duration::from_secs(rounded)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["A".to_owned(), "B".into()], vec!["long".into(), "x".into()]];
        assert_eq!(columns(&rows), ["A     B", "long  x"]);
    }

    #[test]
    fn a_client_cannot_write_to_the_operators_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n\u{202e}c"), "a?[2Jb??c");
    }
}
