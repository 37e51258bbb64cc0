//! From nothing to a connection the server has accepted: dial, prove the token, be welcomed.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tunnel_io::{BoxedIo, Io};
use tunnel_protocol::{
    Challenge, Code, FrameDecoder, FrameError, Hello, LoginReply, Refusal, Secret, Welcome, frame,
    limits::LOGIN_FRAME_MAX,
    login::{Attach, Credential},
    proof,
    version::SUPPORTED,
};
use tunnel_transport::DialError;

use crate::{LoginError, shared::Settings, text};

/// Time a dialer has beyond its own limit, so that its own error, which says more, comes first.
const DIAL_MARGIN: std::time::Duration = std::time::Duration::from_secs(1);
/// How often a server may send a login on to another process at the same address.
const SENT_ON: u32 = 3;

/// A connection on which the next byte is the multiplexer's.
pub(crate) struct Established {
    pub(crate) io: BoxedIo,
    pub(crate) welcome: Welcome,
    /// How far the server's clock is ahead of this machine's, if it told.
    pub(crate) clock_ahead_ms: Option<i64>,
}

/// Dials and logs in: as a new session, or with `attach` as a further lane of one. A server that is being replaced just
/// now refuses those whom it had begun to let in, and they ask its successor.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub(crate) async fn log_in(settings: &Settings, attach: Option<Attach>) -> Result<Established, LoginError> {
    // A lane belongs to its session's process.
    for _ in 0..if attach.is_none() { SENT_ON } else { 0 } {
        match log_in_once(settings, None).await {
            Err(LoginError::Refused(refusal)) if is_sent_on(&refusal) => {}
            other => return other,
        }
    }
    log_in_once(settings, attach).await
}

/// Whether another process takes connections at the same address already.
fn is_sent_on(refusal: &Refusal) -> bool {
    refusal.code == Code::Draining && refusal.retry_after_ms == Some(0)
}

async fn log_in_once(settings: &Settings, attach: Option<Attach>) -> Result<Established, LoginError> {
    let mut io = timeout(settings.timeouts.dial + DIAL_MARGIN, settings.dialer.dial())
        .await
        .unwrap_or_else(|_| Err(no_connection(settings)))?;
    let limit = settings.timeouts.login;
    let before = SystemTime::now();
    let welcome = timeout(limit, introduce(&mut io, settings, attach))
        .await
        .unwrap_or(Err(LoginError::Silent(limit)))?;
    let clock_ahead_ms = welcome.clock_ms.map(|clock| ahead(clock, before, SystemTime::now()));
    Ok(Established { io, welcome, clock_ahead_ms })
}

/// How far a clock is ahead that was read between two moments of ours: at half time, for all we know.
fn ahead(clock_ms: u64, before: SystemTime, after: SystemTime) -> i64 {
    let millis = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let here = i64::try_from(millis(before).midpoint(millis(after))).unwrap_or(i64::MAX);
    i64::try_from(clock_ms).unwrap_or(i64::MAX).saturating_sub(here)
}

/// The login's messages, over a connection that leads to the server.
async fn introduce<T: Io>(
    io: &mut T,
    settings: &Settings,
    attach: Option<Attach>,
) -> Result<Welcome, LoginError> {
    let nonce = if settings.plaintext {
        Some(read(io, FrameDecoder::next_message::<Challenge>).await?.nonce)
    } else {
        None
    };
    let hello = Hello {
        versions: SUPPORTED,
        credential: credential(settings, nonce.as_ref()),
        instance: settings.instance,
        agent: settings.agent.clone(),
        machine: settings.machine.clone(),
        twins: true,
        attach,
    };
    let frame = frame::encode(&hello, LOGIN_FRAME_MAX).map_err(LoginError::NotAServer)?;
    io.write_all(&frame).await.map_err(LoginError::Io)?;
    io.flush().await.map_err(LoginError::Io)?;
    match read(io, FrameDecoder::next_message).await? {
        LoginReply::Refused(refusal) => Err(LoginError::Refused(text::clean_refusal(refusal))),
        LoginReply::Welcome(welcome) if !(SUPPORTED.min..=SUPPORTED.max).contains(&welcome.version) => {
            Err(LoginError::Version(welcome.version))
        }
        LoginReply::Welcome(welcome) => Ok(text::clean_welcome(welcome)),
    }
}

/// The token itself only over a connection that is verified; in plaintext a proof of it.
fn credential(settings: &Settings, nonce: Option<&Secret<32>>) -> Credential {
    match (&settings.token, nonce) {
        (None, _) => Credential::Anonymous,
        (Some(token), None) => Credential::Token { id: token.id(), secret: token.secret().clone() },
        (Some(token), Some(nonce)) => {
            let mac = proof::prove(&token.hash(), nonce.expose(), &settings.instance);
            Credential::Proof { id: token.id(), mac }
        }
    }
}

/// One message, and not a byte more: what follows the login is the multiplexer's.
async fn read<M>(
    io: &mut impl Io,
    take: impl Fn(&mut FrameDecoder) -> Result<Option<M>, FrameError>,
) -> Result<M, LoginError> {
    let mut decoder = FrameDecoder::new(LOGIN_FRAME_MAX);
    let mut piece = vec![0; 1024];
    loop {
        if let Some(message) = take(&mut decoder).map_err(LoginError::NotAServer)? {
            return Ok(message);
        }
        let wanted = decoder.missing().map_err(LoginError::NotAServer)?.min(piece.len());
        let length = io.read(&mut piece[..wanted]).await.map_err(LoginError::Io)?;
        if length == 0 {
            return Err(LoginError::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
        decoder.push(&piece[..length]);
    }
}

fn no_connection(settings: &Settings) -> DialError {
    let (server, after) = (settings.dialer.describe(), settings.timeouts.dial.as_secs_f32());
    DialError::Other(
        format!("no connection to {server} within {after} s; check that it can be reached").into(),
    )
}

#[cfg(test)]
mod tests;
