//! What a request's head says, read once for everyone, whichever version of HTTP it came by.

use tunnel_protocol::Code;
use tunnel_router::{Framing, HeadError, Hostname, Method, Refusal as RouterRefusal, Version};

/// What was made of a head: what it says, or why it is refused.
pub(crate) type Verdict = Result<Facts, Refusal>;

/// What a request's head says.
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
    /// The protocols it asks to change to, `h2c` left out.
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
