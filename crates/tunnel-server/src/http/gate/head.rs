//! What the gate lets in: a head that has one reading, in the form hyper is to see it, and what follows it.

use bytes::{Bytes, BytesMut};
use http::Uri;
use tunnel_protocol::Code;
use tunnel_router::{
    ChunkError, ChunkedBody, Framing, Head, HeadError, Hostname, Method, Progress, Refusal as RouterRefusal,
    Version,
};

/// What a request's head says, read once for everyone.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The one host the request is for.
    pub(crate) host: Hostname,
    /// HTTP/1.0 or HTTP/1.1.
    pub(crate) version: Version,
    /// The method, as far as it is known.
    pub(crate) method: Method,
    /// How its body is delimited.
    pub(crate) framing: Framing,
    /// Whether the visitor waits for a 100 before it sends the body.
    pub(crate) expects_continue: bool,
    /// The protocols it asks to change to, `h2c` left out; only for requests without a body.
    pub(crate) upgrade: Option<String>,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    /// What the visitor is told.
    pub(crate) code: Code,
    /// Which rule was broken.
    pub(crate) error: Option<HeadError>,
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Self {
        let code = match error.refusal() {
            RouterRefusal::BadRequest => Code::BadRequest,
            RouterRefusal::MethodNotAllowed => Code::MethodNotAllowed,
            RouterRefusal::HeadTooLarge => Code::HeadTooLarge,
            RouterRefusal::VersionNotSupported => Code::VersionNotSupported,
        };
        Self { code, error: Some(error) }
    }
}

impl Facts {
    /// Whether a body follows the head.
    pub(crate) fn has_body(&self) -> bool {
        !matches!(self.framing, Framing::None | Framing::Length(0))
    }
}

/// Follows a body to its end.
#[derive(Debug)]
pub(super) enum Follower {
    /// So many bytes are left.
    Length(u64),
    Chunked(ChunkedBody),
}

impl Follower {
    pub(super) fn new(framing: Framing) -> Option<Self> {
        match framing {
            Framing::None | Framing::Length(0) => None,
            Framing::Length(length) => Some(Self::Length(length)),
            Framing::Chunked => Some(Self::Chunked(ChunkedBody::new())),
        }
    }

    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Progress, ChunkError> {
        match self {
            Self::Length(left) => {
                let consumed = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= consumed as u64;
                Ok(Progress { consumed, done: *left == 0 })
            }
            Self::Chunked(body) => body.advance(bytes),
        }
    }
}

/// Makes of a head that was read what the service, hyper and the gate want of it.
///
/// # Errors
/// For a target that hyper could not read: it would answer on its own.
pub(super) fn admit(head: &Head, bytes: Bytes) -> Result<(Facts, Bytes, Option<Follower>), Refusal> {
    if !is_readable(&bytes[head.target.clone()]) {
        return Err(Refusal { code: Code::BadRequest, error: Some(HeadError::Target) });
    }
    let facts = Facts {
        host: head.host.clone(),
        version: head.version,
        method: head.method,
        framing: head.framing,
        expects_continue: head.expects_continue,
        upgrade: None,
    };
    let asked = head.has_upgrade_field.then(|| upgrade_protocols(&bytes)).flatten();
    // hyper prepares an upgrade for every request with an `Upgrade` field, and then closes in a way that may lose
    // the end of an answer. It sees the field only where an upgrade may really come of it.
    let upgrade =
        asked.clone().filter(|protocols| head.upgrade && !protocols.is_empty() && !facts.has_body());
    let bytes = if asked.is_some() && upgrade.is_none() { without_upgrade(&bytes) } else { bytes };
    Ok((Facts { upgrade, ..facts }, bytes, Follower::new(head.framing)))
}

/// Whether the `http` crate takes the target: it refuses a few visible characters that no browser sends.
fn is_readable(target: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/?&=%+:@!$'()*,;".contains(byte);
    (target.first() == Some(&b'/') && target.iter().all(is_plain)) || Uri::try_from(target).is_ok()
}

/// The protocols of all `Upgrade` fields but `h2c`, with which a visitor would speak to the upstream past us;
/// `None` if there is no such field.
fn upgrade_protocols(head: &[u8]) -> Option<String> {
    let mut protocols: Option<String> = None;
    for value in lines(head).filter_map(upgrade_value) {
        let protocols = protocols.get_or_insert_default();
        let members = str::from_utf8(value).unwrap_or_default().split(',').map(str::trim);
        for member in members.filter(|member| !member.is_empty() && !member.eq_ignore_ascii_case("h2c")) {
            if !protocols.is_empty() {
                protocols.push_str(", ");
            }
            protocols.push_str(member);
        }
    }
    protocols
}

fn without_upgrade(head: &[u8]) -> Bytes {
    let mut kept = BytesMut::with_capacity(head.len());
    lines(head).filter(|line| upgrade_value(line).is_none()).for_each(|line| kept.extend_from_slice(line));
    kept.freeze()
}

fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split_inclusive(|byte| *byte == b'\n')
}

fn upgrade_value(line: &[u8]) -> Option<&[u8]> {
    let (name, value) = line.split_at_checked("upgrade:".len())?;
    name.eq_ignore_ascii_case(b"upgrade:").then_some(value)
}
