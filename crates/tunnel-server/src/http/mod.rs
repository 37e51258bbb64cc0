//! Web visitors: one connection in, each of its requests to the tunnel it names.
//!
//! Requests are routed one by one, never by connection: a kept-alive connection may name another tunnel next.
//!
//! ```text
//!   socket ─► http1 or http2 ─► Desk::answer_one ─► forward ─► pool or dispatch ─► upstream ─► stream to the client
//!                                     │               ├─► headers (both ways)
//!                                     │               └─► upgrade (101: bytes from here on)
//!                                     └─► respond (whatever went wrong, in one place)
//! ```

mod door;
mod socket;

mod deadline;
mod facts;

mod body;
mod date;
mod http1;
mod http2;

mod admit;

mod forward;
mod headers;
mod link;
pub(crate) mod pool;

mod answer;
mod compress;
mod devserver;
mod upload;

mod upgrade;

mod grpc;
mod interstitial;
mod pages;
mod respond;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ::http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version as HttpVersion,
    header::{CONNECTION, REFERER, USER_AGENT},
    uri::PathAndQuery,
};
use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tracing::debug;
use tunnel_io::peek_until;
use tunnel_protocol::{Code, RequestId, control::RequestReport};
use tunnel_router::Version;

pub use self::devserver::DevServer;
use self::{
    answer::Answer,
    body::Inbound,
    compress::Wish,
    facts::{Facts, Verdict},
    forward::Passage,
    http2::PREFACE,
    respond::{Asked, Failure},
};
pub(crate) use self::{
    door::{Door, Secure},
    interstitial::Interstitial,
    socket::Socket,
};
use crate::{
    addresses::{Counted, Excess},
    dispatch::Visit,
    endpoint::{Endpoint, Target},
    metrics::Metrics,
    places::Place,
    records::{Drafted, RequestLine},
    rights::TunnelKind,
    shared::Shared,
    trace::Parent,
};

/// The most of a head that is waited for, in bytes: above the largest that is let in.
const BUFFER: usize = 64 * 1024;

/// The most of a path that goes into a report, in bytes.
const REPORTED_PATH: usize = 512;

/// Serves one visitor's connection until it ends, the server has drained, or it stops.
///
/// # Cancel safety
/// Dropping it closes the connection and resets the exchange in flight.
pub(crate) async fn serve<T: Socket>(shared: Shared, io: T, visitor: SocketAddr, door: Door, place: Place) {
    let is_trusted = shared.config().trusted_proxies.iter().any(|network| network.contains(&visitor.ip()));
    let agreed = door.secure.as_ref().map(|secure| secure.is_h2);
    let place = Arc::new(place);
    let address =
        HeaderValue::try_from(visitor.ip().to_string()).expect("invariant: an address is visible ASCII");
    let desk = Arc::new(Desk { shared, visitor, address, door, is_trusted, place });
    match agreed {
        // Boxed here and below: it is the larger by far, and connections of HTTP/1 shouldn't hold the room for it.
        Some(true) => Box::pin(http2::serve(desk, io)).await,
        Some(false) => http1::serve(desk, Box::new(io), Bytes::new(), Instant::now()).await,
        None => serve_either(desk, io).await,
    }
}

/// Finds out from the first bytes which version the visitor speaks. Browsers speak the newer one only after they
/// agreed on it in TLS; programs that know both sides don't ask (RFC 9113 §3.3).
async fn serve_either<T: Socket>(desk: Arc<Desk>, io: T) {
    let since = Instant::now();
    let is_preface = |bytes: &[u8]| {
        let length = bytes.len().min(PREFACE.len());
        // Its first three bytes begin no method that is in use.
        (bytes[..length] != PREFACE[..length] || length == PREFACE.len())
            .then(|| length == PREFACE.len() && bytes[..length] == *PREFACE)
    };
    let patience = desk.shared.config().timeouts.head;
    let peeked = tokio::select! {
        biased;
        () = desk.shared.stopping.cancelled() => return,
        () = desk.shared.closing_time_of_new(since) => return,
        peeked = timeout(patience, peek_until(io, BUFFER, is_preface)) => peeked,
    };
    match peeked {
        Ok(Ok((true, io))) => Box::pin(http2::serve(desk, io)).await,
        Ok(Ok((false, io))) => {
            let (io, said) = io.into_inner();
            http1::serve(desk, Box::new(io), said, since).await;
        }
        // It said nothing, or not enough to answer.
        Ok(Err(_)) | Err(_) => {}
    }
}

/// Where one connection's requests are taken.
#[derive(Debug)]
struct Desk {
    shared: Shared,
    visitor: SocketAddr,
    /// Its address, as upstreams are told.
    address: HeaderValue,
    /// Where it came in.
    door: Door,
    /// Whether its word on whom it forwards for is taken.
    is_trusted: bool,
    /// Its place among all connections, which an upgrade takes along.
    place: Arc<Place>,
}

impl Desk {
    fn visit(&self, request: RequestId) -> Visit {
        Visit { request, visitor: self.visitor, local: self.door.local }
    }

    /// Answers a request, whatever version of HTTP it came by. What goes on to the upstream is taken out of it.
    async fn answer_one(
        &self,
        id: RequestId,
        request: &mut Request<Inbound>,
        verdict: Verdict,
    ) -> Response<Answer> {
        let started = Instant::now();
        Metrics::count(&self.shared.metrics.requests);
        let method = request.method().clone();
        let path = request.uri().path_and_query().cloned();
        let asked = Asked::new(id, request);
        let wish = Wish::of(&method, request.version(), request.headers());
        let draft = self.draft(id, request, verdict.as_ref().ok());
        let visitor = self.visitor_of(request.headers());
        let mut passage = Passage::new(draft.clone());
        let admitted = self.shared.addresses.request(visitor);
        let is_too_fast = matches!(admitted, Err(Excess::Fast(_)));
        let verdict = admitted.map_err(Failure::from).and_then(|place| Ok((verdict?, place)));
        let (endpoint, outcome) = match verdict {
            Ok((facts, _)) if !self.door.admits(&self.shared.routes, &facts.host) => {
                (None, Err(Failure::new(Code::Misdirected).at(facts.host)))
            }
            Ok((facts, _)) if let Some(elsewhere) = self.door.redirect(&facts.host, target_path(request)) => {
                (None, Ok(elsewhere.map(Answer::page)))
            }
            Ok((facts, _)) if let Some(pressed) = self.go_on(&facts.host, visitor, request) => {
                (None, pressed.map_err(|failure| failure.at(facts.host)))
            }
            Ok((facts, place)) => {
                let endpoint = self.shared.routes.lookup(&facts.host, target_path(request));
                if let Some(endpoint) = &endpoint {
                    endpoint.tally.count_request();
                    draft.iter().for_each(|draft| draft.at(endpoint));
                }
                let outcome = match &endpoint {
                    Some(_) if let Some(page) = self.stop(&facts, visitor, request) => Err(page),
                    Some(endpoint) => {
                        self.exchange(endpoint, &facts, (id, visitor), request, place, &mut passage).await
                    }
                    None => Err(Failure::new(Code::TunnelNotFound)),
                };
                (endpoint, outcome.map_err(|failure| failure.at(facts.host)))
            }
            Err(failure) => (None, Err(failure)),
        };
        let (mut response, error) = match outcome {
            Ok(response) => (self.compress(wish, passage.served.as_deref(), response), None),
            Err(failure) => {
                match &endpoint {
                    Some(endpoint) => endpoint.tally.refused(&self.shared.metrics, failure.code()),
                    None => self.shared.metrics.refused(failure.code()),
                }
                draft.iter().for_each(|draft| draft.set_code(failure.code()));
                (asked.respond(&failure, &self.shared.config()).map(Answer::page), Some(failure))
            }
        };
        // One that comes too often has to come anew, and connections have a rate of their own.
        let is_last = self.shared.draining.is_cancelled() || is_too_fast && !self.is_trusted;
        if is_last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // The connection may hear of it only after this answer.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let status = response.status().as_u16();
        self.shared.metrics.answered(status);
        if let Some(draft) = draft {
            draft.set_status(status);
            if !draft.is_upgraded() {
                response.body_mut().record(draft);
            }
        }
        let duration = started.elapsed();
        debug!(
            request.id = %id,
            tunnel = endpoint.as_ref().map(|endpoint| endpoint.address.url()),
            visitor.addr = %self.visitor,
            status,
            ?duration,
            error = error.as_ref().map(|failure| failure.code().name()),
            detail = error.as_ref().and_then(Failure::detail),
            "answered"
        );
        if let Some(endpoint) = endpoint {
            endpoint.tally.count_answer(status);
            let hint = passage.hint.take();
            let asked = (&method, path.as_ref());
            self.report((&endpoint, passage.served.as_deref()), id, asked, (status, duration, hint));
        }
        response
    }

    /// Begins the request's record, if anybody listens. `facts` are `None` of one that couldn't be read.
    fn draft(&self, id: RequestId, request: &Request<Inbound>, facts: Option<&Facts>) -> Drafted {
        let records = &self.shared.records;
        let parent = || Parent::read(request.headers(), self.is_trusted);
        let draft = records.draft(id, TunnelKind::Http, self.visitor_address(request.headers()), parent)?;
        let Some(facts) = facts else { return Some(Arc::new(draft)) };
        let version = match (request.version(), facts.version) {
            (HttpVersion::HTTP_2, _) => "HTTP/2.0",
            (_, Version::Http10) => "HTTP/1.0",
            (_, Version::Http11) => "HTTP/1.1",
        };
        let line =
            RequestLine::new(version, request.method().as_str(), facts.host.as_str(), target_path(request))
                .over_tls(self.is_secure(request.headers()));
        let field = |name| request.headers().get(name).map(HeaderValue::as_bytes);
        let line = if records.is_full() { line.in_full(field(USER_AGENT), field(REFERER)) } else { line };
        Some(Arc::new(draft.with_request(line)))
    }

    async fn exchange(
        &self,
        endpoint: &Arc<Endpoint>,
        facts: &Facts,
        (id, visitor): (RequestId, IpAddr),
        request: &mut Request<Inbound>,
        place: Option<Counted>,
        passage: &mut Passage,
    ) -> Result<Response<Answer>, Failure> {
        if endpoint.is_paused_at(target_path(request)) {
            return Err(Failure::new(Code::TunnelPaused));
        }
        let policies = endpoint.known_policies();
        admit::check(&policies, visitor, request.headers())?;
        passage.checked = Some(policies);
        let permit = endpoint.admit().map_err(Failure::new)?.with(place);
        forward::forward(self, endpoint, facts, id, request, permit, passage).await
    }

    /// Makes an answer smaller if its tunnel and its visitor want it so.
    fn compress(&self, wish: Wish, served: Option<&Target>, response: Response<Answer>) -> Response<Answer> {
        if !served.is_some_and(|target| target.policies.compress) {
            return response;
        }
        let (mut head, answer) = response.into_parts();
        let squeeze = wish.grant(&self.shared, &mut head, &http_body::Body::size_hint(&answer));
        let answer = match squeeze {
            Some(squeeze) => answer.compressed(squeeze),
            None => answer,
        };
        Response::from_parts(head, answer)
    }

    fn report(
        &self,
        (endpoint, served): (&Endpoint, Option<&Target>),
        request: RequestId,
        (method, path): (&Method, Option<&PathAndQuery>),
        (status, duration, hint): (u16, std::time::Duration, Option<String>),
    ) {
        endpoint.report(served, hint.is_some(), |tunnel| RequestReport {
            tunnel,
            request,
            visitor: self.visitor,
            method: method.to_string(),
            path: reported(path),
            status,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            hint,
            dropped: 0,
        });
    }
}

/// The path and query as the upstream will get them, by which tunnels that share a host are told apart.
fn target_path<B>(request: &Request<B>) -> &str {
    request.uri().path_and_query().map_or("/", |path| path.as_str())
}

/// Puts the root's slash in front of a target that has a query and no path (`http://a.test?x`, RFC 9112 §3.2.1): as
/// it came it would be no target towards an upstream.
fn complete_target<B>(request: &mut Request<B>) {
    let target = target_path(request);
    if !target.starts_with('?') {
        return;
    }
    let completed = PathAndQuery::try_from(format!("/{target}"));
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = completed.ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// The path and query, cut to what a report may carry.
fn reported(path: Option<&PathAndQuery>) -> String {
    let path = path.map_or("/", PathAndQuery::as_str);
    path[..path.floor_char_boundary(REPORTED_PATH)].to_owned()
}

#[cfg(test)]
mod tests;
