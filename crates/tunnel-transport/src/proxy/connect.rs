//! HTTP's `CONNECT` (RFC 9110 §9.3.6), with Basic credentials (RFC 7617).

use std::net::SocketAddr;

use data_encoding::BASE64;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tunnel_io::Io;

use super::{Login, ProxyProblem};
use crate::ServerAddress;

/// The longest head of an answer, in bytes. Proxies add little to it, and some a page to their refusals, which isn't
/// read.
const HEAD_MAX: usize = 8 * 1024;

/// Has the proxy connect to `server`: what is read and written afterwards is the server's.
pub(super) async fn ask<T: Io>(
    io: &mut T,
    server: &ServerAddress,
    login: Option<&Login>,
) -> Result<(), ProxyProblem> {
    let credentials = login.map_or_else(String::new, |Login { user, password }| {
        format!("Proxy-Authorization: Basic {}\r\n", BASE64.encode(format!("{user}:{password}").as_bytes()))
    });
    let target = match server.ip() {
        Some(ip) => SocketAddr::new(ip, server.port()).to_string(),
        None => server.to_string(),
    };
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credentials}\r\n");
    io.write_all(request.as_bytes()).await.map_err(ProxyProblem::Closed)?;
    io.flush().await.map_err(ProxyProblem::Closed)?;
    judge(&read_head(io).await?, login.is_some())
}

/// Byte by byte, for what follows the head is not the proxy's: a server may speak first.
async fn read_head<T: Io>(io: &mut T) -> Result<String, ProxyProblem> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        if head.len() == HEAD_MAX {
            return Err(ProxyProblem::NotAProxy);
        }
        head.push(io.read_u8().await.map_err(ProxyProblem::Closed)?);
        // Whatever else speaks here is found out at once, not when it falls silent.
        if head.iter().zip(b"HTTP/1.").any(|(got, wanted)| got != wanted) {
            return Err(ProxyProblem::NotAProxy);
        }
    }
    String::from_utf8(head).map_err(|_| ProxyProblem::NotAProxy)
}

fn judge(head: &str, gave_login: bool) -> Result<(), ProxyProblem> {
    let status = head.split([' ', '\r', '\n']).nth(1).filter(|digits| digits.len() == 3);
    match status.and_then(|digits| digits.parse::<u16>().ok()).ok_or(ProxyProblem::NotAProxy)? {
        200..=299 => Ok(()),
        // 401 is for origins, but some proxies have not heard.
        401 | 407 => Err(refused_login(head, gave_login)),
        403 => Err(ProxyProblem::Forbidden("403")),
        405 => Err(ProxyProblem::Forbidden("405")),
        status @ 502..=504 => Err(ProxyProblem::NoServer(status.to_string())),
        status => Err(ProxyProblem::Refused(status.to_string())),
    }
}

fn refused_login(head: &str, gave_login: bool) -> ProxyProblem {
    let schemes: Vec<String> = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate"))
        .filter_map(|(_, value)| value.split_whitespace().next())
        .map(|scheme| scheme.chars().filter(char::is_ascii_alphanumeric).take(20).collect())
        .take(5)
        .collect();
    if !schemes.is_empty() && !schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic")) {
        return ProxyProblem::OtherLogin(schemes.join(", "));
    }
    if gave_login { ProxyProblem::WrongLogin } else { ProxyProblem::NoLogin }
}
