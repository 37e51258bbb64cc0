//! Reading a header, strictly: who may send one decides for whom all of a connection is taken.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::{ProxyAddresses, ProxyError, ProxyHeader, V1_MAX, V1_START, V2_FIXED, V2_MAX, V2_SIGNATURE};

const UNIX_PAIR: usize = 216;

/// The header at the start of `bytes` and how many of them it takes; `None` until more are there. Then all of
/// `bytes` belong to it. Asks for no more than [`V2_MAX`] in all, and says no at the first byte that can't be.
///
/// # Errors
/// [`ProxyError`] if the bytes begin no header, whatever follows them.
pub fn read(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    if begins_like(bytes, V2_SIGNATURE) {
        read_v2(bytes)
    } else if begins_like(bytes, V1_START) {
        read_v1(bytes)
    } else {
        Err(ProxyError::NotProxy)
    }
}

/// Whether `bytes` begin with `start`, as far as they go.
fn begins_like(bytes: &[u8], start: &[u8]) -> bool {
    let common = bytes.len().min(start.len());
    bytes[..common] == start[..common]
}

fn read_v1(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    let window = &bytes[..bytes.len().min(V1_MAX)];
    let Some(end) = window.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if window.len() < V1_MAX { Ok(None) } else { Err(ProxyError::TooLong) };
    };
    match window[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if end + 1 < V1_MAX => return Ok(None),
        [b'\r'] => return Err(ProxyError::TooLong),
        _ => return Err(ProxyError::Malformed),
    }
    let line = window[..end].get(V1_START.len()..).ok_or(ProxyError::Malformed)?;
    Ok(Some((read_line(line)?, end + 2)))
}

/// What follows `PROXY ` on the line.
fn read_line(line: &[u8]) -> Result<ProxyHeader, ProxyError> {
    // Whatever follows this word is to be ignored.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(ProxyHeader::Own);
    }
    let line = str::from_utf8(line).map_err(|_| ProxyError::Malformed)?;
    let mut words = line.split(' ');
    let mut next = || words.next().ok_or(ProxyError::Malformed);
    let (family, source, destination) = (next()?, next()?, next()?);
    let (from, to) = (port(next()?)?, port(next()?)?);
    if words.next().is_some() {
        return Err(ProxyError::Malformed);
    }
    let (source, destination) = match family {
        "TCP4" => (address::<Ipv4Addr>(source)?, address::<Ipv4Addr>(destination)?),
        "TCP6" => (address::<Ipv6Addr>(source)?, address::<Ipv6Addr>(destination)?),
        _ => return Err(ProxyError::Malformed),
    };
    let (source, destination) = (SocketAddr::new(source, from), SocketAddr::new(destination, to));
    Ok(ProxyHeader::Forwarded(ProxyAddresses { source, destination }))
}

fn address<A: FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, ProxyError> {
    text.parse::<A>().map(Into::into).map_err(|_| ProxyError::Malformed)
}

/// Decimal digits, without sign or leading zeros.
fn port(text: &str) -> Result<u16, ProxyError> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or(ProxyError::Malformed)
}

fn read_v2(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    let command = match bytes.get(V2_SIGNATURE.len()) {
        None => return Ok(None),
        Some(command @ (0x20 | 0x21)) => *command,
        Some(_) => return Err(ProxyError::Unknown),
    };
    let Some((fixed, rest)) = bytes.split_at_checked(V2_FIXED) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if V2_FIXED + length > V2_MAX {
        return Err(ProxyError::TooLong);
    }
    // Checked before the rest is there, so that it doesn't matter how much came at once.
    let family = fixed[13];
    let room = match (command, family) {
        (0x20, _) | (_, 0x00) => 0,
        (_, 0x11 | 0x12) => 12,
        (_, 0x21 | 0x22) => 36,
        (_, 0x31 | 0x32) => UNIX_PAIR,
        _ => return Err(ProxyError::Malformed),
    };
    if length < room {
        return Err(ProxyError::Malformed);
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let header = match (command, family) {
        (0x21, 0x11) => forwarded(pair::<4>(body)?),
        (0x21, 0x21) => forwarded(pair::<16>(body)?),
        // Datagrams don't come over a connection, and a Unix socket's name means nothing here.
        _ => ProxyHeader::Own,
    };
    Ok(Some((header, V2_FIXED + length)))
}

fn forwarded((source, destination): (SocketAddr, SocketAddr)) -> ProxyHeader {
    ProxyHeader::Forwarded(ProxyAddresses { source, destination })
}

/// Two addresses of `N` bytes, then two ports.
fn pair<const N: usize>(body: &[u8]) -> Result<(SocketAddr, SocketAddr), ProxyError>
where
    [u8; N]: Into<IpAddr>,
{
    let (source, rest) = body.split_first_chunk::<N>().ok_or(ProxyError::Malformed)?;
    let (destination, rest) = rest.split_first_chunk::<N>().ok_or(ProxyError::Malformed)?;
    let [from_high, from_low, to_high, to_low, ..] = *rest else { return Err(ProxyError::Malformed) };
    let (from, to) = (u16::from_be_bytes([from_high, from_low]), u16::from_be_bytes([to_high, to_low]));
    Ok((SocketAddr::new((*source).into(), from), SocketAddr::new((*destination).into(), to)))
}
