//! Which fields cross the server, and which end here.
//!
//! What concerns one connection only is removed, both ways (RFC 9110 §7.6.1). What tells an upstream who its
//! visitor is comes from us, unless the visitor is a proxy that the operator trusts.

use ::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, Entry, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
        TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};
use tunnel_protocol::RequestId;
use tunnel_router::Framing;

use super::facts::Facts;
use crate::policy::lookalikes;

/// Tells who answered with an error: us. An upstream can't set it.
pub(super) const TUNNEL_ERROR: HeaderName = HeaderName::from_static("tunnel-error");

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Fields about one connection, whether `Connection` names them or not. `Transfer-Encoding` and `Upgrade` are
/// among them too, and set again where they are ours to set.
static HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// Whether a name is as long as one of [`HOP_BY_HOP`]: most aren't.
const fn may_be_hop_by_hop(length: usize) -> bool {
    matches!(length, 7 | 10 | 14 | 16..=19)
}

/// Fields that `Connection` can't have removed: those that route, frame and authorise, and those added on the way
/// by proxies that the upstream relies on.
const END_TO_END: [&str; 21] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "trailer",
    "te",
    "expect",
    "authorization",
    "cookie",
    "set-cookie",
    "origin",
    "range",
    "cache-control",
    "date",
    "location",
    "via",
    "forwarded",
    "x-real-ip",
    "x-request-id",
    "access-control-allow-origin",
];

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    /// The visitor's address, written once for all its requests.
    pub(super) visitor: &'a HeaderValue,
    /// The port it found us at, if it came over TLS.
    pub(super) https_port: Option<u16>,
    /// Whether it is a proxy whose word on its own visitors is taken.
    pub(super) is_trusted: bool,
    /// What we call the request.
    pub(super) request: RequestId,
}

/// Makes of a visitor's fields those the upstream gets.
///
/// Most requests have none of the fields that are looked for, and to look once at every name costs less than to ask
/// for each.
pub(super) fn to_upstream(headers: &mut HeaderMap, facts: &Facts, asker: Asker<'_>) {
    let (mut te, mut expect, mut trailer) = (false, false, false);
    for name in headers.keys() {
        te |= name == TE;
        expect |= name == EXPECT;
        trailer |= name == TRAILER;
    }
    let wants_trailers = te && members(headers, &TE).any(|coding| coding.eq_ignore_ascii_case("trailers"));
    remove_hop_by_hop(headers);
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    } else if te {
        headers.remove(TE);
    }
    if expect && !facts.expects_continue {
        headers.remove(EXPECT);
    }
    if matches!(facts.framing, Framing::Chunked) {
        // Also for a GET, whose body would have no end otherwise.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    } else if trailer {
        headers.remove(TRAILER);
    }
    if let Some(protocols) =
        facts.upgrade.as_ref().and_then(|protocols| HeaderValue::from_str(protocols).ok())
    {
        set_upgrade(headers, protocols);
    }
    identify(headers, asker);
}

/// Lets a message change the protocol.
pub(super) fn set_upgrade(headers: &mut HeaderMap, protocols: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocols);
}

/// An upstream's answer is framed in a way that two readers could take differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer's framing is ambiguous")]
pub(super) struct BadFraming;

/// Makes of an upstream's fields those the visitor gets.
///
/// # Errors
/// [`BadFraming`] for codings other than `chunked`, and for a length that is none, or several.
pub(super) fn to_visitor(headers: &mut HeaderMap) -> Result<(), BadFraming> {
    let (mut codings, mut lengths, mut of_ours) = (false, 0, false);
    for (name, value) in &*headers {
        codings |= name == TRANSFER_ENCODING;
        of_ours |= name == TUNNEL_ERROR;
        if name == CONTENT_LENGTH {
            // A list of numbers, or one that isn't written plainly, counts as more than one.
            lengths += if is_plain_number(value.as_bytes()) { 1 } else { 2 };
        }
    }
    if codings {
        if !is_chunked(headers) {
            return Err(BadFraming);
        }
        // The coding has precedence (RFC 9112 §6.3), and the length mustn't go on to somebody who disagrees.
        headers.remove(CONTENT_LENGTH);
    } else if lengths > 1 {
        let length = the_length(headers)?;
        headers.insert(CONTENT_LENGTH, length.into());
    }
    remove_hop_by_hop(headers);
    if of_ours {
        headers.remove(TUNNEL_ERROR);
    }
    Ok(())
}

/// Whether a number is written as we would write it, and surely small enough to be one.
fn is_plain_number(text: &[u8]) -> bool {
    matches!(text, [b'0'] | [b'1'..=b'9', ..]) && text.len() < 19 && text.iter().all(u8::is_ascii_digit)
}

/// Whether `chunked` is the only coding for the way.
pub(super) fn is_chunked(headers: &HeaderMap) -> bool {
    let mut codings = members(headers, &TRANSFER_ENCODING);
    codings.next().is_some_and(|first| first.eq_ignore_ascii_case("chunked")) && codings.next().is_none()
}

/// The one number that all lengths give.
///
/// # Errors
/// [`BadFraming`] if there is none, or several.
pub(super) fn the_length(headers: &HeaderMap) -> Result<u64, BadFraming> {
    let mut lengths =
        headers.get_all(CONTENT_LENGTH).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let parse = |length: &[u8]| {
        let digits =
            str::from_utf8(length.trim_ascii()).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|digits| digits.parse::<u64>().ok()).ok_or(BadFraming)
    };
    let first = parse(lengths.next().ok_or(BadFraming)?)?;
    for length in lengths {
        if parse(length)? != first {
            return Err(BadFraming);
        }
    }
    Ok(first)
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let mut going = [false; HOP_BY_HOP.len()];
    for name in headers.keys().filter(|name| may_be_hop_by_hop(name.as_str().len())) {
        if let Some(place) = HOP_BY_HOP.iter().position(|known| known == name) {
            going[place] = true;
        }
    }
    // `Connection` stands first among them.
    if going[0] {
        connection_names(headers).iter().for_each(|name| drop(headers.remove(name)));
    }
    for (name, _) in HOP_BY_HOP.iter().zip(going).filter(|(_, is_there)| *is_there) {
        headers.remove(name);
    }
}

/// The fields that `Connection` says concern one connection only, but for those that do anyway.
fn connection_names(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut values = headers.get_all(CONNECTION).iter();
    // What old clients still say, and it names no field of theirs.
    if values.all(|value| value.as_bytes().eq_ignore_ascii_case(b"keep-alive")) {
        return Vec::new();
    }
    let named = members(headers, &CONNECTION).filter(|name| !is_end_to_end(name));
    named.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect()
}

fn is_end_to_end(name: &str) -> bool {
    let known = END_TO_END.iter().any(|known| name.eq_ignore_ascii_case(known));
    known || lookalikes::begins_like(name, "x-forwarded-") || lookalikes::begins_like(name, "access-control-")
}

/// Tells the upstream who its visitor is, in the visitor's stead.
fn identify(headers: &mut HeaderMap, asker: Asker<'_>) {
    let Asker { visitor, https_port, is_trusted, request } = asker;
    lookalikes::remove(headers, |name| {
        is_claim(name) && (!is_trusted || lookalikes::has_underscore(name)) || resembles_framing(name)
    });
    // It grows once, and not with every other field.
    headers.reserve(6);
    let host = headers.get(HOST).cloned();
    append(headers, X_FORWARDED_FOR, visitor);
    if headers.contains_key(FORWARDED) {
        // Added to, never begun: an upstream that reads both kinds must find them agree.
        let address = visitor.to_str().unwrap_or_default();
        let is_ipv6 = address.contains(':');
        let node = if is_ipv6 { format!("for=\"[{address}]\"") } else { format!("for={address}") };
        if let Ok(node) = HeaderValue::from_str(&node) {
            append(headers, FORWARDED, &node);
        }
    }
    headers.entry(X_REAL_IP).or_insert_with(|| visitor.clone());
    if let Some(host) = host {
        headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
    // What a proxy said of the port is not to be mixed with what we say of the protocol.
    let said = headers.contains_key(X_FORWARDED_PROTO);
    if let Some(port) = https_port.filter(|_| !said) {
        headers.entry(X_FORWARDED_PORT).or_insert(port.into());
    }
    let proto = if https_port.is_some() { "https" } else { "http" };
    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static(proto));
    if let Entry::Vacant(place) = headers.entry(X_REQUEST_ID)
        && let Ok(id) = HeaderValue::from_bytes(&request.hex())
    {
        place.insert(id);
    }
}

/// Whether a field claims to know who the visitor is or what it asked for.
fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str();
    match name.as_bytes().first() {
        Some(b'x') => {
            lookalikes::are_alike(name, "x-real-ip") || lookalikes::begins_like(name, "x-forwarded-")
        }
        Some(b'f') => lookalikes::are_alike(name, "forwarded"),
        _ => false,
    }
}

/// Whether an upstream may take a field for one that says where the body ends, which nobody read.
fn resembles_framing(name: &HeaderName) -> bool {
    let framing = match name.as_str().as_bytes().first() {
        Some(b'c') => CONTENT_LENGTH,
        Some(b't') => TRANSFER_ENCODING,
        _ => return false,
    };
    *name != framing && lookalikes::are_alike(name.as_str(), framing.as_str())
}

/// Makes one list of all values of a field and `last`.
fn append(headers: &mut HeaderMap, name: HeaderName, last: &HeaderValue) {
    let mut place = match headers.entry(name) {
        Entry::Occupied(place) => place,
        Entry::Vacant(place) => {
            place.insert(last.clone());
            return;
        }
    };
    let values = place.iter().chain([last]).map(HeaderValue::as_bytes);
    if let Ok(list) = HeaderValue::from_bytes(&values.collect::<Vec<_>>().join(&b", "[..])) {
        place.insert(list);
    }
}

/// The members of a list field, however many lines it has. Values that aren't text have none.
pub(super) fn members<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests;
