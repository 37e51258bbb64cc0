//! The handshake of a connection without TLS: both ends say [`PREFACE`], the client first.
//!
//! One end with TLS and one without is a likely mistake. Without a handshake the one would take the other's
//! greeting for a length of several hundred megabytes, or each would wait for the other to begin. With it either
//! end knows after one round trip, and says so. It proves nothing about who the other end is.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tunnel_io::Io;

use crate::TlsProblem;

/// The plaintext counterpart of [`ALPN`](crate::ALPN). No TLS record begins like it.
const PREFACE: &[u8; 9] = b"tunnel/1\n";

/// The client's half.
///
/// # Errors
///
/// What the other end turned out to be.
pub(crate) async fn greet_server<T: Io>(io: &mut T) -> Result<(), TlsProblem> {
    match exchange(io).await {
        Ok(answer) if &answer == PREFACE => Ok(()),
        Ok(answer) if is_tls_record(&answer) => Err(TlsProblem::NotPlaintext),
        // An alert record, all that a TLS server has to say to this, is shorter than the preface.
        Ok(_) => Err(TlsProblem::NotTunnel),
        Err(_) => Err(TlsProblem::Closed),
    }
}

/// The server's half.
///
/// # Errors
///
/// The peer went away or greets differently, for example in TLS.
pub(crate) async fn greet_client<T: Io>(io: &mut T) -> io::Result<()> {
    let mut greeting = [0; PREFACE.len()];
    io.read_exact(&mut greeting).await?;
    // Answered whatever was said: to a client with TLS it is the proof that there is none here.
    io.write_all(PREFACE).await?;
    io.flush().await?;
    if &greeting == PREFACE {
        return Ok(());
    }
    let what = if is_tls_record(&greeting) {
        "the client speaks TLS, but this server was told to do without"
    } else {
        "the client is no tunnel client"
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// Says the preface and takes what comes back, padded with zeros when the other end stops early.
async fn exchange<T: Io>(io: &mut T) -> io::Result<[u8; PREFACE.len()]> {
    io.write_all(PREFACE).await?;
    io.flush().await?;
    let mut answer = [0; PREFACE.len()];
    let mut filled = 0;
    while filled < answer.len() {
        match io.read(&mut answer[filled..]).await {
            Ok(0) => break,
            Ok(count) => filled += count,
            // A peer that gives up on us resets; what it said before is what counts.
            Err(_) if filled > 0 => break,
            Err(error) => return Err(error),
        }
    }
    if filled == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}

/// A content type from 20 to 23, then major version 3 (RFC 8446 section 5.1).
fn is_tls_record(start: &[u8]) -> bool {
    matches!(start, [20..=23, 3, ..])
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn two_of_a_kind_agree_and_lose_no_byte() {
        let (mut client, mut server) = duplex(64);
        let (at_client, at_server) = tokio::join!(greet_server(&mut client), greet_client(&mut server));
        at_client.unwrap();
        at_server.unwrap();
        server.write_all(b"first").await.unwrap();
        let mut first = [0; 5];
        client.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"first");
    }

    #[tokio::test]
    async fn the_client_says_what_the_server_is() {
        for (answer, expected) in [
            (&[21, 3, 3, 0, 2, 2, 10][..], TlsProblem::NotPlaintext),
            (b"HTTP/1.1 400 Bad Request\r\n", TlsProblem::NotTunnel),
            (b"SSH", TlsProblem::NotTunnel),
            (b"", TlsProblem::Closed),
        ] {
            let (mut client, mut server) = duplex(64);
            server.write_all(answer).await.unwrap();
            server.shutdown().await.unwrap();
            assert_eq!(greet_server(&mut client).await, Err(expected));
        }
    }

    #[tokio::test]
    async fn the_server_says_what_the_client_is() {
        for (greeting, expected) in [
            (&b"\x16\x03\x01\x05\x00\x01\x00\x04\xfc"[..], "speaks TLS"),
            (b"GET / HTTP", "no tunnel client"),
        ] {
            let (mut client, mut server) = duplex(64);
            client.write_all(greeting).await.unwrap();
            let error = greet_client(&mut server).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
