//! A head that has one reading, as the rest of the server wants it: what is asked, and how it is to be answered.

use ::http::{HeaderMap, Method, Request, Uri, Version as HttpVersion, header::TE};
use bytes::Bytes;
use tunnel_router::{Head, HeadError, Version};

use super::fields;
use crate::http::{
    facts::{Facts, Refusal},
    headers::members,
};

/// How many fields are added on the way to the upstream.
const ADDED: usize = 8;

/// A request without its body.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request<()>,
    pub(super) facts: Facts,
    pub(super) terms: Terms,
}

/// How a request wants to be answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) version: Version,
    /// Only the head is wanted.
    pub(super) is_head: bool,
    /// Another request may follow.
    pub(super) keep_alive: bool,
    /// The visitor reads trailers (RFC 9110 §6.5.1).
    pub(super) takes_trailers: bool,
}

impl Terms {
    /// Those of a request that can't be read, which is the last one.
    pub(super) const REFUSED: Self =
        Self { version: Version::Http11, is_head: false, keep_alive: false, takes_trailers: false };
}

/// Makes a request of a head, which is all of `bytes`.
///
/// # Errors
/// For a target that the `http` crate doesn't take: it refuses a few visible characters that no browser sends.
pub(super) fn admit(head: &Head, bytes: &Bytes) -> Result<Asked, Refusal> {
    let mut request = Request::new(());
    *request.method_mut() =
        Method::from_bytes(&bytes[head.method_range.clone()]).map_err(|_| refusal(HeadError::RequestLine))?;
    *request.uri_mut() =
        Uri::from_maybe_shared(bytes.slice(head.target.clone())).map_err(|_| refusal(HeadError::Target))?;
    *request.version_mut() = match head.version {
        Version::Http10 => HttpVersion::HTTP_10,
        Version::Http11 => HttpVersion::HTTP_11,
    };
    let fields = fields::map(bytes, head.fields(bytes), ADDED);
    *request.headers_mut() = fields.map_err(|_| refusal(HeadError::FieldName))?;
    let headers = request.headers();
    let terms = Terms {
        version: head.version,
        is_head: *request.method() == Method::HEAD,
        keep_alive: head.keep_alive,
        takes_trailers: headers.contains_key(TE)
            && members(headers, &TE).any(|coding| coding.eq_ignore_ascii_case("trailers")),
    };
    let facts = Facts {
        host: head.host.clone(),
        version: head.version,
        method: head.method,
        framing: head.framing,
        expects_continue: head.expects_continue,
        upgrade: head.upgrade.then(|| protocols(headers)).filter(|protocols| !protocols.is_empty()),
    };
    Ok(Asked { request, facts, terms })
}

fn refusal(error: HeadError) -> Refusal {
    Refusal::from(error)
}

/// The protocols of all `Upgrade` fields but `h2c`, with which a visitor would speak to the upstream past us.
fn protocols(headers: &HeaderMap) -> String {
    let asked = members(headers, &::http::header::UPGRADE);
    asked.filter(|protocol| !protocol.eq_ignore_ascii_case("h2c")).collect::<Vec<_>>().join(", ")
}
