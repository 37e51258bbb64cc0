//! One request to the upstream, and its answer back.
//!
//! A request that failed is sent again only if that can't do anything twice: when it was never sent or never
//! reached the upstream, or when its method promises as much (RFC 9110 §9.2.2) and no body went with it.

use std::{io, sync::Arc, time::Duration};

use ::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version as HttpVersion};
use hyper::body::Incoming;
use tunnel_protocol::{Code, RequestId};
use tunnel_router::Version;

use super::{
    Desk,
    answer::{Answer, Exchange},
    gate::{Facts, Turn},
    headers::{self, Asker},
    link::Link,
    pool,
    respond::Failure,
    upgrade,
    upload::{Receipt, Upload},
};
use crate::{
    dispatch::DispatchError,
    endpoint::{Endpoint, Target, VisitorPermit},
    metrics::Metrics,
};

/// How long a stream may have been idle to be used for a request that can't be sent again: many upstreams close
/// theirs after 5 s, and one that closes just now would take the request with it.
const FRESH: Duration = Duration::from_secs(2);

/// A request as the upstream is to get it, its body apart.
#[derive(Debug)]
struct Outgoing {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    expects_continue: bool,
    /// Sending it twice does what sending it once does.
    is_repeatable: bool,
}

/// Why there is no answer.
#[derive(Debug)]
enum Fault {
    /// The visitor broke its request off.
    Visitor(Code),
    /// The upstream's answer can't be read.
    Malformed(hyper::Error),
    Dispatch(DispatchError),
}

/// How one attempt failed.
struct Failed {
    fault: Fault,
    /// hyper hadn't begun to send the request.
    is_unsent: bool,
    /// On a stream that had served before.
    is_reused: bool,
    receipt: Receipt,
    /// Who served the endpoint.
    target: Option<Target>,
}

/// Forwards a request and returns the upstream's answer, as soon as its head is there.
///
/// # Errors
/// [`Failure`], for the page the visitor gets instead.
///
/// # Cancel safety
/// Dropping it resets the stream to the upstream.
pub(super) async fn forward(
    desk: &Desk,
    endpoint: &Arc<Endpoint>,
    facts: &Facts,
    id: RequestId,
    mut request: Request<Incoming>,
    (turn, permit): (Turn, VisitorPermit),
) -> Result<Response<Answer>, Failure> {
    let on_upgrade = facts.upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let mut outgoing = Outgoing {
        method: head.method,
        uri: origin_form(&head.uri),
        headers: head.headers,
        expects_continue: facts.expects_continue,
        is_repeatable: facts.method.is_idempotent() && !facts.has_body(),
    };
    let asker = Asker { visitor: desk.visitor.ip(), is_trusted: desk.is_trusted, request: id };
    headers::to_upstream(&mut outgoing.headers, facts, asker);
    let mut body = facts.has_body().then_some(body);
    let upstream = || endpoint.target().map(|target| target.upstream);

    let (mut may_reuse, mut may_repeat) = (true, true);
    let (mut response, exchange) = loop {
        let failed = match attempt(desk, endpoint, &outgoing, &mut body, id, may_reuse).await {
            Ok(answered) => break answered,
            Err(failed) => failed,
        };
        let Failed { fault, is_unsent, is_reused, receipt, target } = failed;
        let is_late =
            matches!(fault, Fault::Dispatch(DispatchError::Refused(Code::Draining | Code::NoSuchTunnel)));
        // A stream that fails at once after it was idle had been closed already.
        let was_stale = is_reused && matches!(fault, Fault::Dispatch(DispatchError::Broken(_)));
        let never_arrived = is_unsent || is_late;
        let is_lost = matches!(fault, Fault::Dispatch(DispatchError::LaneLost));
        if facts.has_body() && body.is_none() && never_arrived {
            body = receipt.unsent().await;
        }
        let is_complete = body.is_some() || !facts.has_body();
        let is_harmless =
            is_complete && (never_arrived || (outgoing.is_repeatable && (is_lost || was_stale)));
        if is_harmless && is_reused && !is_late && !is_lost {
            may_reuse = false;
            continue;
        }
        if !is_harmless || !may_repeat {
            return Err(Failure::from(fault).through(upstream()));
        }
        (may_reuse, may_repeat) = (false, false);
        Metrics::count(&desk.shared.metrics.retries);
        if let Some(target) = target.filter(|_| is_late) {
            endpoint.wait_until_not(&target).await;
        }
    };

    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let switched = on_upgrade.zip(facts.upgrade.as_deref()).and_then(|(visitor, asked)| {
            upgrade::switch(&desk.shared, asked, visitor, &mut response, exchange, (turn, permit))
        });
        return switched.ok_or_else(|| {
            Failure::new(Code::UpstreamMalformed)
                .because("it changed the protocol unasked")
                .through(upstream())
        });
    }
    accept(response, exchange, facts, (turn, permit)).map_err(|failure| failure.through(upstream()))
}

/// Sends the request once and waits for the head of the answer.
async fn attempt(
    desk: &Desk,
    endpoint: &Arc<Endpoint>,
    outgoing: &Outgoing,
    body: &mut Option<Incoming>,
    id: RequestId,
    may_reuse: bool,
) -> Result<(Response<Incoming>, Exchange), Failed> {
    let target = endpoint.target();
    let idle = if outgoing.is_repeatable { pool::IDLE } else { FRESH };
    let pooled = if may_reuse { endpoint.pool.take(idle) } else { None };
    let is_reused = pooled.is_some();
    let link = match pooled {
        Some(link) => link,
        None => Link::open(&desk.shared, endpoint, desk.visit(id)).await.map_err(|error| Failed {
            // Nobody was there to take it: waiting was the endpoint's business, and is over.
            fault: match error {
                DispatchError::LaneLost => {
                    Fault::Dispatch(DispatchError::Absent(crate::endpoint::Absent::Away))
                }
                error => Fault::Dispatch(error),
            },
            is_unsent: false,
            is_reused: false,
            receipt: Receipt::default(),
            target: None,
        })?,
    };
    let (upload, receipt) = Upload::new(body.take(), outgoing.expects_continue);
    let request = outgoing.request(upload, &receipt);
    let mut exchange = Exchange::new(link, endpoint.clone(), receipt);
    let link = exchange.link().expect("invariant: the exchange has just begun");
    match link.sender.try_send_request(request).await {
        Ok(response) => {
            exchange.receipt().set_answered();
            Ok((response, exchange))
        }
        Err(mut error) => {
            let unsent = error.take_message();
            let fault = Fault::new(error.into_error(), exchange.receipt());
            let is_unsent = unsent.is_some();
            // Dropped with its link, the body comes back if nothing of it was taken.
            drop(unsent);
            Err(Failed { fault, is_unsent, is_reused, receipt: exchange.give_up(), target })
        }
    }
}

/// Makes the visitor's answer of the upstream's.
fn accept(
    response: Response<Incoming>,
    mut exchange: Exchange,
    facts: &Facts,
    turn: (Turn, VisitorPermit),
) -> Result<Response<Answer>, Failure> {
    let (mut head, body) = response.into_parts();
    if let Err(error) = headers::to_visitor(&mut head.headers) {
        return Err(Failure::new(Code::UpstreamMalformed).because(error.to_string()));
    }
    if head.version == HttpVersion::HTTP_11 {
        exchange.allow_reuse();
    }
    head.version = HttpVersion::HTTP_11;
    let ends_by_close = facts.version == Version::Http10;
    Ok(Response::from_parts(head, Answer::upstream(body, exchange, ends_by_close, turn)))
}

impl Outgoing {
    fn request(&self, upload: Upload, receipt: &Receipt) -> Request<Upload> {
        let mut request = Request::new(upload);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if self.expects_continue {
            let on_continue = receipt.on_continue();
            hyper::ext::on_informational(&mut request, move |response| {
                if response.status() == StatusCode::CONTINUE {
                    on_continue();
                }
            });
        }
        request
    }
}

/// The target without scheme and authority: upstreams are asked as origins (RFC 9112 §3.2.1).
fn origin_form(uri: &Uri) -> Uri {
    uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from)
}

impl Fault {
    fn new(error: hyper::Error, receipt: &Receipt) -> Self {
        if let Some(code) = receipt.failure() {
            return Self::Visitor(code);
        }
        if error.is_parse() {
            return Self::Malformed(error);
        }
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            if let Some(cause) = cause.downcast_ref::<io::Error>() {
                return Self::Dispatch(DispatchError::from(cause));
            }
            source = cause.source();
        }
        Self::Dispatch(DispatchError::Broken(io::Error::new(io::ErrorKind::UnexpectedEof, error)))
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Visitor(code) => Self::new(code),
            Fault::Malformed(error) => Self::new(Code::UpstreamMalformed).because(error.to_string()),
            Fault::Dispatch(error) => Self::from(error),
        }
    }
}
