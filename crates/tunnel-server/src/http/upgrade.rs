//! WebSocket and its like: an exchange that ends by becoming a plain stream of bytes.
//!
//! Only the upstream can make it so, with a 101 that names a protocol the visitor asked for. Up to then
//! whatever the visitor sent behind its request is held back.

use std::sync::Arc;

use ::http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
};
use data_encoding::BASE64;
use sha1::{Digest, Sha1};
use tracing::debug;
use tunnel_io::{Io, Prefixed, RelayOptions, relay};

use super::{
    Desk,
    answer::{Answer, Exchange},
    body::Inbound,
    headers,
    http1::upstream::Wire,
};
use crate::{
    endpoint::{Admission, Endpoint},
    ids,
    records::{Draft, Drafted},
    tally::Tally,
};

/// What a stream of bytes takes over from the exchange it was.
pub(super) struct Carried<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) draft: Drafted,
    pub(super) permit: Admission,
}

/// Where what becomes of a stream of bytes is written down.
struct Books {
    draft: Drafted,
    tally: Arc<Tally>,
}

/// Whether a WebSocket is among the protocols asked for.
pub(super) fn is_websocket(asked: &str) -> bool {
    asked.split(',').any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}

/// Makes the visitor's answer of the upstream's 101, and relays bytes from then on in a task of the server's. With a
/// `challenge`, which the upstream has to have met, the visitor came over HTTP/2.
///
/// `None` if it didn't, or if the upstream chose a protocol that wasn't asked for.
pub(super) fn switch(
    desk: &Desk,
    asked: &str,
    challenge: Option<Challenge>,
    response: &mut Response<Inbound>,
    exchange: Exchange,
    carried: Carried<'_>,
) -> Option<Response<Answer>> {
    let chosen = response.headers().get(UPGRADE)?.clone();
    let is_asked = |protocol: &str| asked.split(',').any(|asked| asked.trim().eq_ignore_ascii_case(protocol));
    if !headers::members(response.headers(), &UPGRADE).all(is_asked) {
        return None;
    }
    let mut switched = Response::new(Answer::empty());
    *switched.status_mut() = response.status();
    std::mem::swap(switched.headers_mut(), response.headers_mut());
    headers::to_visitor(switched.headers_mut()).ok()?;
    // What follows is no body (RFC 9110 §8.6).
    switched.headers_mut().remove(CONTENT_LENGTH);
    let Inbound::Upstream(upstream) = std::mem::replace(response.body_mut(), Inbound::Empty) else {
        return None;
    };
    let upstream = upstream.switched()?;
    let shared = &desk.shared;
    let Carried { endpoint, draft, permit } = carried;
    let (over, tally) = (endpoint.over.clone(), endpoint.tally.clone());
    let books = Books { draft, tally };
    books.draft.iter().for_each(|draft| draft.set_upgraded());
    // A connection goes as a whole, and so does its place among all.
    let place = match challenge {
        None => {
            headers::set_upgrade(switched.headers_mut(), chosen);
            Some(desk.place.clone())
        }
        Some(challenge) => {
            if !challenge.is_met_by(switched.headers_mut()) {
                return None;
            }
            *switched.status_mut() = StatusCode::OK;
            None
        }
    };
    let places = (permit, exchange.release(), place);
    let (answer, visitor) = Answer::switch();
    *switched.body_mut() = answer;
    shared.visitors.spawn(async move {
        let _places = places;
        // Without the visitor the upstream is dropped, which resets it.
        let Ok(mut visitor) = visitor.await else { return };
        let is_whole = tokio::select! {
            biased;
            () = over.cancelled() => false,
            is_whole = carry(&mut visitor, upstream, books) => is_whole,
        };
        if !is_whole {
            // A cut is no end: neither side may take it for one.
            visitor.abort();
        }
    });
    Some(switched)
}

/// Whether both ended as they should. Dropping the upstream's stream resets it otherwise.
async fn carry(visitor: &mut impl Io, mut upstream: Prefixed<Wire>, Books { draft, tally }: Books) -> bool {
    let options = RelayOptions { meter: draft.as_deref().map(Draft::meter), ..RelayOptions::default() };
    let relayed = relay(visitor, &mut upstream, options).await;
    draft.iter().for_each(|draft| draft.end(relayed.end.is_ok()));
    if let Err(error) = &relayed.end {
        tally.count_cut();
        debug!(error = error as &dyn std::error::Error, "upgraded connection broken off");
    }
    relayed.end.is_ok()
}

/// What proves that an upstream understood a WebSocket's opening (RFC 6455 §4.1), in the stead of a visitor that
/// came over HTTP/2 and so has nothing to prove.
#[derive(Debug)]
pub(super) struct Challenge(String);

impl Challenge {
    pub(super) fn new() -> Self {
        Self(BASE64.encode(&ids::random::<16>()))
    }

    /// Asks the upstream.
    pub(super) fn put(&self, headers: &mut HeaderMap) {
        if let Ok(key) = HeaderValue::from_str(&self.0) {
            headers.insert(SEC_WEBSOCKET_KEY, key);
        }
    }

    /// Whether the upstream's answer is the right one, which is then taken out.
    fn is_met_by(&self, headers: &mut HeaderMap) -> bool {
        let wanted = accept_of(&self.0);
        headers.remove(SEC_WEBSOCKET_ACCEPT).is_some_and(|given| given.as_bytes() == wanted.as_bytes())
    }
}

/// What answers a key (RFC 6455 §4.2.2).
pub(super) fn accept_of(key: &str) -> String {
    BASE64.encode(&Sha1::new().chain_update(key).chain_update(ACCEPT_SALT).finalize())
}

/// RFC 6455 §1.3.
const ACCEPT_SALT: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
