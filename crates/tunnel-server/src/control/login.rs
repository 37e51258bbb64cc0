//! The login: the last thing a stranger can reach. Frames of at most 4 KiB, no multiplexer, no waiting without a
//! deadline (the caller holds it).

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tracing::debug;
use tunnel_io::BoxedIo;
use tunnel_protocol::{
    Challenge, Code, FrameDecoder, Hello, LoginReply, Refusal, ServerMessage, Version, Welcome, frame,
    limits::LOGIN_FRAME_MAX,
    login::Attach,
    text::printable,
    version::{Mismatch, SUPPORTED},
};

use super::{Control, SessionGuard, login_pace::Purpose, standing};
use crate::{
    auth::{Identity, Login},
    events::Event,
    ids,
    metrics::Metrics,
    session::{Session, Who},
};

/// How the client is to prove its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// By showing it: the connection is confidential.
    Token,
    /// By answering a challenge: the connection may be read by others.
    Challenge,
}

/// Who came in, and the connection, whose next byte belongs to the multiplexer.
pub(super) struct Admitted {
    pub(super) io: BoxedIo,
    pub(super) entry: Entry,
}

/// What the connection is for.
pub(super) enum Entry {
    /// A new session.
    Session(NewSession),
    /// A further lane of this one.
    Lane(Arc<Session>),
}

/// A session that has just logged in.
pub(super) struct NewSession {
    pub(super) session: Arc<Session>,
    pub(super) outbox: mpsc::Receiver<ServerMessage>,
    pub(super) guard: SessionGuard,
}

/// Logs a connection in, or refuses it with words and `None`.
pub(super) async fn login(
    control: &Control,
    mut io: BoxedIo,
    address: SocketAddr,
    asked: Asked,
) -> Option<Admitted> {
    let nonce = (asked == Asked::Challenge).then(ids::secret);
    let hello = async {
        if let Some(nonce) = &nonce {
            write(&mut io, &Challenge { nonce: nonce.clone() }).await?;
        }
        read::<Hello>(&mut io).await
    };
    let hello = match hello.await {
        Ok(hello) => hello,
        Err(error) => {
            debug!(%error, "no login");
            let refusal =
                Refusal::permanent(Code::Malformed, "not a login: this port is for tunnel clients only");
            if error.kind() == io::ErrorKind::InvalidData {
                refuse(control, &mut io, address, refusal).await;
            } else {
                Metrics::count(&control.shared.metrics.control_failures);
            }
            return None;
        }
    };
    let nonce = nonce.as_ref().map(|nonce| nonce.expose());
    let (entry, welcome) = match admit(control, &hello, address, nonce) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            refuse(control, &mut io, address, refusal).await;
            return None;
        }
    };
    match write(&mut io, &LoginReply::Welcome(welcome)).await {
        Ok(()) => Some(Admitted { io, entry }),
        Err(error) => {
            Metrics::count(&control.shared.metrics.control_failures);
            debug!(%error, "gone during login");
            None
        }
    }
}

/// Decides on a `Hello`. Nothing here waits.
fn admit(
    control: &Control,
    hello: &Hello,
    address: SocketAddr,
    nonce: Option<&[u8; 32]>,
) -> Result<(Entry, Welcome), Refusal> {
    let version = SUPPORTED.agree(hello.versions).map_err(|mismatch| mismatch_refusal(mismatch, hello))?;
    if let Some(refusal) = control.why_no_clients() {
        return Err(refusal);
    }
    let identity = authenticate(control, hello, address, nonce)?;
    let purpose = if hello.attach.is_some() { Purpose::Lane } else { Purpose::Session };
    let rate = control.shared.config().limits.login_rate_per_token;
    control.pace.take(purpose, identity.token, control.shared.addresses.counted(address.ip()), rate)?;
    let session = match &hello.attach {
        Some(attach) => {
            let session = find(control, attach, &identity)?;
            let welcome = welcome(control, &session, version);
            return Ok((Entry::Lane(session), welcome));
        }
        None => new_session(control, hello, identity, address)?,
    };
    let welcome = welcome(control, &session.session, version);
    Ok((Entry::Session(session), welcome))
}

fn authenticate(
    control: &Control,
    hello: &Hello,
    address: SocketAddr,
    nonce: Option<&[u8; 32]>,
) -> Result<Identity, Refusal> {
    let login = Login { credential: &hello.credential, nonce, instance: &hello.instance };
    match control.authenticator.authenticate(login) {
        Some(identity) => {
            control.throttle.succeeded(address.ip());
            let rights = control.authenticator.rights(&identity);
            match rights.and_then(|rights| standing::expired(&rights, &identity.name)) {
                Some(refusal) => Err(refusal),
                None => Ok(identity),
            }
        }
        None => {
            // A right token is let in whatever its neighbours behind the same address do; only wrong ones wait.
            let delay = control.throttle.delay(address.ip());
            if !delay.is_zero() {
                let seconds = delay.as_secs() + 1;
                let message = format!("too many wrong tokens from your address; try again in {seconds} s");
                return Err(Refusal::passing(Code::TooManyAttempts, message, seconds * 1000));
            }
            control.throttle.failed(address.ip());
            Err(Refusal::permanent(
                Code::Unauthorized,
                "the server doesn't take this token: it is of another server, or was revoked; make one with \
                 `tunnel token create NAME` on the server",
            ))
        }
    }
}

fn find(control: &Control, attach: &Attach, identity: &Identity) -> Result<Arc<Session>, Refusal> {
    let session = control.sessions.get(attach.session);
    // Both must hold, and which of them doesn't is not said.
    session
        .filter(|session| session.resume == attach.resume && session.identity.token == identity.token)
        .ok_or_else(|| Refusal::permanent(Code::NoSuchSession, "the session this lane belongs to has ended"))
}

fn new_session(
    control: &Control,
    hello: &Hello,
    identity: Identity,
    address: SocketAddr,
) -> Result<NewSession, Refusal> {
    let limits = &control.shared.config().limits;
    let who = Who {
        identity,
        instance: hello.instance,
        machine: printable(&hello.machine, SELF_MAX),
        agent: printable(&hello.agent, SELF_MAX),
        address,
        twins: hello.twins,
    };
    let ended = control.shared.stopping.child_token();
    let (session, outbox) = Session::new(ids::session_id(), ids::secret(), who, limits.lanes, ended);
    let Some(guard) = control.sessions.insert(&session, limits) else {
        return Err(Refusal::passing(Code::ServerBusy, "the server has no room for another client", 10_000));
    };
    if let Some(refusal) = control.why_no_clients() {
        // It began just now, and has told the sessions it saw.
        return Err(refusal);
    }
    Ok(NewSession { session, outbox, guard })
}

fn welcome(control: &Control, session: &Session, version: Version) -> Welcome {
    let config = control.shared.config();
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Welcome {
        version,
        session: session.id,
        resume: session.resume.clone(),
        heartbeat_ms: millis(config.timeouts.heartbeat),
        dead_after_ms: millis(config.timeouts.dead_after),
        streams_per_lane: u32::try_from(config.limits.streams_per_lane).unwrap_or(u32::MAX),
        max_lanes: config.limits.lanes,
        hold_s: config.timeouts.lease.as_secs(),
        agent: AGENT.to_owned(),
        account: session.identity.name.to_string(),
        clock_ms: SystemTime::now().duration_since(UNIX_EPOCH).ok().map(millis),
    }
}

fn mismatch_refusal(mismatch: Mismatch, hello: &Hello) -> Refusal {
    let (theirs, ours) = (hello.versions, SUPPORTED);
    match mismatch {
        Mismatch::ClientTooOld => Refusal::permanent(
            Code::ClientTooOld,
            format!(
                "this client speaks protocol {} and the server needs {} or later: upgrade the client",
                theirs.max.0, ours.min.0
            ),
        ),
        Mismatch::ServerTooOld => Refusal::permanent(
            Code::ServerTooOld,
            format!(
                "this server speaks protocol {} and the client needs {} or later: upgrade the server",
                ours.max.0, theirs.min.0
            ),
        ),
    }
}

async fn refuse(control: &Control, io: &mut BoxedIo, address: SocketAddr, refusal: Refusal) {
    debug!(code = %refusal.code, "login refused");
    control.shared.metrics.refused(refusal.code);
    control.shared.events.emit(Event::LoginRefused { address, code: refusal.code.name() });
    let _ = write(io, &LoginReply::Refused(refusal)).await;
    let _ = io.shutdown().await;
}

async fn read<T: DeserializeOwned>(io: &mut BoxedIo) -> io::Result<T> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut decoder = FrameDecoder::new(LOGIN_FRAME_MAX);
    let mut chunk = [0; 512];
    loop {
        // Never a byte more than the frame: what follows belongs to the multiplexer.
        let missing = decoder.missing().map_err(invalid)?.min(chunk.len());
        let n = io.read(&mut chunk[..missing]).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        decoder.push(&chunk[..n]);
        if let Some(message) = decoder.next_message().map_err(invalid)? {
            return Ok(message);
        }
    }
}

async fn write<T: Serialize>(io: &mut BoxedIo, message: &T) -> io::Result<()> {
    let frame = frame::encode(message, LOGIN_FRAME_MAX).map_err(io::Error::other)?;
    io.write_all(&frame).await?;
    io.flush().await
}

/// The longest of the names that a client gives itself, in characters: they appear in logs and messages.
const SELF_MAX: usize = 64;

/// What we call ourselves to clients.
const AGENT: &str = concat!("tunnel/", env!("CARGO_PKG_VERSION"));
