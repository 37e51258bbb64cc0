//! Ours, through its command line alone: what a user gets is what is measured.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::Service;
use super::running::{CLIENT, Running, SERVER};

/// The web tunnel's name.
const NAME: &str = "bench";

/// A line of the server's or the client's standard output, as far as it matters here.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Said {
    Listening { control: SocketAddr, web: SocketAddr },
    TokenCreated { token: String },
    Online { url: String },
}

pub(super) fn start(
    running: &mut Running<'_>,
    binary: &Path,
    plaintext: bool,
    upstream: u16,
    service: Service,
) -> Result<()> {
    let data = running.directory().join("data");
    let data = data.to_str().context("a temporary directory that isn't UTF-8")?.to_owned();
    let (control, web) = start_server(running, binary, plaintext, &data)?;
    let token = running.wait_for(SERVER, |line| match said(line)? {
        Said::TokenCreated { token } => Some(token),
        _ => None,
    })?;

    let port = upstream.to_string();
    let mut client = match service {
        Service::Tcp => vec!["tcp", port.as_str()],
        Service::Udp => vec!["udp", port.as_str()],
        Service::Http => vec!["http", port.as_str(), "--subdomain", NAME],
    };
    client.extend(["--server", &control, "--token", &token, "--output", "json"]);
    client.extend(plaintext.then_some("--plaintext"));
    running.run(CLIENT, binary, &client)?;
    let url = running.wait_for(CLIENT, online)?;
    match service {
        Service::Tcp | Service::Udp => {
            let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
            let port: u16 = port.with_context(|| format!("no port in {url}"))?;
            running.target((running.place().server(), port).into(), url);
        }
        Service::Http => running.target(web, format!("{NAME}.localhost:{}", web.port())),
    }
    Ok(())
}

/// Starts the server; where it takes clients, and where web visitors.
pub(super) fn start_server(
    running: &mut Running<'_>,
    binary: &Path,
    plaintext: bool,
    data: &str,
) -> Result<(String, SocketAddr)> {
    let address = running.place().server().to_string();
    let mut server = vec!["server", "--bind", &address, "--control-port", "0", "--public-port", "0"];
    server.extend([
        "--tcp-ports",
        "20000-29999",
        "--udp-ports",
        "20000-20999",
        "--log-format",
        "json",
        "--data-dir",
        data,
    ]);
    server.extend(plaintext.then_some("--plaintext"));
    running.run(SERVER, binary, &server)?;
    running.wait_for(SERVER, |line| match said(line)? {
        Said::Listening { control, web } => Some((control.to_string(), web)),
        _ => None,
    })
}

/// The address in a line that says that a tunnel is online.
pub(super) fn online(line: &str) -> Option<String> {
    match said(line)? {
        Said::Online { url } => Some(url),
        _ => None,
    }
}

/// `None` for a line that is still being written, and for other events.
fn said(line: &str) -> Option<Said> {
    serde_json::from_value(serde_json::from_str::<Value>(line).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_whole_or_not_at_all() {
        let line = r#"{"event":"listening","control":"127.0.0.1:1","web":"127.0.0.1:2","pin":"p"}"#;
        assert!(matches!(said(line), Some(Said::Listening { web, .. }) if web.port() == 2));
        assert!(said(&line[..40]).is_none());
        assert!(said(r#"{"event":"connected"}"#).is_none());
        assert!(matches!(said(r#"{"event":"token-created","token":"t"}"#), Some(Said::TokenCreated { .. })));
    }
}
