//! The local service: whether it listens, what it speaks, and whether it takes the public host name.

use std::{path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};
use tunnel_client::{BoxedIo, Unreachable, Upstream};
use tunnel_server::DevServer;

use super::check::{Check, Fault, took};
use crate::{output::printable, resolve::client::Target};

/// For a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// For the first bytes of an answer.
const ANSWER: Duration = Duration::from_secs(2);
/// As much of an answer as is looked at, in bytes.
const LOOKED_AT: usize = 16 * 1024;
/// What the question is called at the upstream.
const NAME: &str = "upstream";

/// Looks at the upstream, if one was named.
///
/// # Cancel safety
/// Dropping it closes what was opened.
pub(super) async fn examine(upstream: Option<&Upstream>, target: Option<&Target>) -> Check {
    let Some(upstream) = upstream else {
        return Check::skipped(NAME, "none was named; to look at one too: tunnel doctor 3000");
    };
    if let Some(directory) = upstream.as_directory() {
        return Check::of(NAME, directory_finding(directory));
    }
    let own_host = match upstream.address() {
        Some((host, port)) if host.contains(':') => format!("[{host}]:{port}"),
        Some((host, port)) => format!("{host}:{port}"),
        None => "localhost".into(),
    };
    let start = Instant::now();
    let answer = match ask(upstream, &own_host).await {
        Ok(answer) => answer,
        Err(error) => return Check::failed(NAME, Fault::of_line(&error.message, "start the local service")),
    };
    let time = took(start.elapsed());
    match read(&answer) {
        Spoken::Http(status) if is_tls_refusal(&answer) => Check::failed(
            NAME,
            Fault::new(
                format!("{upstream} wants TLS (it answers {status} to plain HTTP)"),
                format!("write it as https://{own_host}"),
            ),
        ),
        Spoken::Http(status) => {
            let host = public_host(target);
            match refuses(upstream, &host).await {
                Some(server) => Check::warning(
                    NAME,
                    Fault::new(
                        format!(
                            "{upstream} answers {status} in {time}, but refuses the public host ({})",
                            server.name
                        ),
                        format!(
                            "publish it with `--host-header rewrite`, or add the host to {}",
                            server.setting
                        ),
                    ),
                ),
                None => Check::ok(NAME, format!("{upstream} answers {status} in {time}")),
            }
        }
        Spoken::Http2 => Check::warning(
            NAME,
            Fault::new(
                format!("{upstream} speaks HTTP/2 without TLS"),
                "publish it with `tunnel http … --upstream-protocol h2c`",
            ),
        ),
        Spoken::Tls => Check::failed(
            NAME,
            Fault::new(format!("{upstream} speaks TLS"), format!("write it as https://{own_host}")),
        ),
        Spoken::Silence => Check::warning(
            NAME,
            Fault::new(
                format!(
                    "{upstream} takes connections and doesn't answer an HTTP request within {} s",
                    ANSWER.as_secs()
                ),
                "if it is no web service, publish it with `tunnel tcp`; else look at its log",
            ),
        ),
        Spoken::Closed => Check::warning(
            NAME,
            Fault::new(
                format!("{upstream} closes the connection at an HTTP request"),
                format!(
                    "if it speaks TLS, write it as https://{own_host}; if it is no web service, publish it with `tunnel tcp`"
                ),
            ),
        ),
        Spoken::Other(beginning) => Check::warning(
            NAME,
            Fault::new(
                format!("{upstream} listens and speaks something else than HTTP (`{beginning}`)"),
                "publish it with `tunnel tcp`",
            ),
        ),
    }
}

fn directory_finding(directory: &Path) -> Result<String, Fault> {
    match std::fs::read_dir(directory) {
        Ok(entries) => Ok(format!("{} is a directory with {} entries", directory.display(), entries.count())),
        Err(error) => Err(Fault::new(
            format!("{} can't be shown: {error}", directory.display()),
            "check the path, and who may read it",
        )),
    }
}

/// The beginning of the answer to a plain request for `/`.
async fn ask(upstream: &Upstream, host: &str) -> Result<Vec<u8>, Unreachable> {
    let mut io = upstream.try_connect(CONNECT).await?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tunnel-doctor\r\nAccept: text/html, */*;q=0.1\r\nConnection: close\r\n\r\n"
    );
    // One that hung up already may have said why.
    let _ = io.write_all(request.as_bytes()).await;
    let _ = io.flush().await;
    let (mut answer, mut is_closed) = (Vec::new(), false);
    // What came in time counts.
    let _ = timeout(ANSWER, collect(&mut io, &mut answer, &mut is_closed)).await;
    if answer.is_empty() && is_closed {
        answer = CLOSED.to_vec();
    }
    Ok(answer)
}

/// Stands for an end without a byte; no protocol begins so.
const CLOSED: &[u8] = b"\0closed";

async fn collect(io: &mut BoxedIo, answer: &mut Vec<u8>, is_closed: &mut bool) {
    let mut piece = [0; 4096];
    while answer.len() < LOOKED_AT {
        match io.read(&mut piece).await {
            Ok(0) | Err(_) => {
                *is_closed = true;
                break;
            }
            Ok(length) => answer.extend_from_slice(&piece[..length]),
        }
    }
}

/// What an upstream turned out to speak.
#[derive(Debug, PartialEq, Eq)]
enum Spoken {
    /// With the status of its answer.
    Http(u16),
    Http2,
    Tls,
    Silence,
    Closed,
    /// With its first words.
    Other(String),
}

fn read(answer: &[u8]) -> Spoken {
    if answer == CLOSED {
        return Spoken::Closed;
    }
    if let Some((status, _)) = http1(answer) {
        return Spoken::Http(status);
    }
    match answer {
        [] => Spoken::Silence,
        // An alert or handshake record of TLS.
        [0x15 | 0x16, 0x03, ..] => Spoken::Tls,
        // A SETTINGS frame on stream 0, as every HTTP/2 connection begins (RFC 9113 §3.4), or a GOAWAY.
        [_, _, _, 4 | 7, _, 0, 0, 0, 0, ..] => Spoken::Http2,
        other => {
            let line = other.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
            let words: String = String::from_utf8_lossy(line).chars().take(30).collect();
            Spoken::Other(printable(&words))
        }
    }
}

/// Status and body of an HTTP/1 answer.
fn http1(answer: &[u8]) -> Option<(u16, &[u8])> {
    let rest = answer.strip_prefix(b"HTTP/1.")?;
    let status = std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok()?;
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(&[][..], |at| &answer[at + 4..]);
    Some((status, body))
}

/// What nginx, Go and Apache answer to plain HTTP on a port for TLS.
fn is_tls_refusal(answer: &[u8]) -> bool {
    let Some((400, body)) = http1(answer) else { return false };
    let body = String::from_utf8_lossy(body).to_lowercase();
    ["https port", "https server", "ssl-enabled server"].iter().any(|words| body.contains(words))
}

/// A host as visitors will ask for.
fn public_host(target: Option<&Target>) -> String {
    let server = target.map_or("tunnel.example", |target| target.server.host());
    // An address has no names below it.
    let is_name = server.parse::<std::net::IpAddr>().is_err();
    format!("doctor.{}", if is_name { server } else { "tunnel.example" })
}

/// The development server that doesn't take the public host.
async fn refuses(upstream: &Upstream, host: &str) -> Option<DevServer> {
    // `*.localhost` is let in by servers that let in nothing else.
    let host = if host.ends_with("localhost") { "doctor.tunnel.example" } else { host };
    let answer = ask(upstream, host).await.ok()?;
    let (status, body) = http1(&answer)?;
    DevServer::that_refuses(status, body, "/")
}

#[cfg(test)]
mod tests;
