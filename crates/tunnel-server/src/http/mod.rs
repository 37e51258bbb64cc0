//! Web visitors: one connection in, each of its requests to the tunnel it names.
//!
//! Requests are routed one by one, never by connection: a kept-alive connection may name another tunnel next.
//!
//! ```text
//!   socket ─► gate ─► hyper ─► Desk::answer ─► forward ─► pool or dispatch ─► hyper ─► stream to the client
//!                                   │             ├─► headers (both ways)
//!                                   │             └─► upgrade (101: bytes from here on)
//!                                   └─► respond (whatever went wrong, in one place)
//! ```

mod gate;

mod forward;
mod headers;
mod link;
pub(crate) mod pool;

mod answer;
mod upload;

mod upgrade;

mod pages;
mod respond;

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc};

use ::http::{HeaderValue, Method, Request, Response, StatusCode, header::CONNECTION};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tracing::{Instrument, debug, debug_span};
use tunnel_protocol::{Code, RequestId, control::RequestReport};

pub(crate) use self::gate::Socket;
use self::{
    answer::Answer,
    gate::{Facts, Gate, Patience, Turn, Verdict},
    respond::{Asked, Failure},
};
use crate::{dispatch::Visit, endpoint::Endpoint, ids, metrics::Metrics, shared::Shared};

/// The most hyper buffers each way for one connection, in bytes: above the largest head the gate lets in.
const BUFFER: usize = 64 * 1024;

/// The most of a path that goes into a report, in bytes.
const REPORTED_PATH: usize = 512;

/// Serves one visitor's connection until it ends, the server has drained, or it stops.
///
/// # Cancel safety
/// Dropping it closes the connection and resets the exchange in flight.
pub(crate) async fn serve<T: Socket>(shared: Shared, io: T, visitor: SocketAddr, local: SocketAddr) {
    let (gate, turns) = Gate::new(io, Patience::from(&shared.config.timeouts));
    let is_trusted = shared.config.trusted_proxies.iter().any(|network| network.contains(&visitor.ip()));
    let desk = Arc::new(Desk { shared: shared.clone(), visitor, local, is_trusted });
    let service = {
        let turns = turns.clone();
        // Boxed, so that a connection at rest doesn't hold the room for an exchange.
        service_fn(move |request| Box::pin(desk.clone().answer(request, turns.take())))
    };
    let connection = http1::Builder::new()
        .max_buf_size(BUFFER)
        // The gate keeps the visitor's deadlines.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(gate), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        () = shared.stopping.cancelled() => return turns.cut(),
        ended = &mut connection => ended,
        () = shared.draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                () = shared.stopping.cancelled() => return turns.cut(),
                ended = &mut connection => ended,
            }
        }
    };
    if let Err(error) = ended {
        debug!(visitor.addr = %visitor, error = &error as &dyn std::error::Error, "connection broken off");
    }
}

/// Where one connection's requests are taken.
#[derive(Debug)]
struct Desk {
    shared: Shared,
    visitor: SocketAddr,
    /// Which of our addresses it connected to.
    local: SocketAddr,
    /// Whether its word on whom it forwards for is taken.
    is_trusted: bool,
}

impl Desk {
    fn visit(&self, request: RequestId) -> Visit {
        Visit { request, visitor: self.visitor, local: self.local }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        admitted: Option<(Verdict, Turn)>,
    ) -> Result<Response<Answer>, Infallible> {
        let id = ids::request_id();
        let span = debug_span!("visitor", %id, addr = %self.visitor);
        Ok(self.answer_one(id, request, admitted).instrument(span).await)
    }

    async fn answer_one(
        &self,
        id: RequestId,
        request: Request<Incoming>,
        admitted: Option<(Verdict, Turn)>,
    ) -> Response<Answer> {
        let started = Instant::now();
        Metrics::count(&self.shared.metrics.requests);
        let method = request.method().clone();
        let path = path(&request);
        let asked = Asked::new(id, &request);
        let (endpoint, outcome) = match admitted {
            Some((Ok(facts), turn)) => {
                let endpoint = self.shared.routes.lookup(&facts.host);
                let outcome = match &endpoint {
                    Some(endpoint) => self.exchange(endpoint, &facts, id, request, turn).await,
                    None => Err(Failure::new(Code::TunnelNotFound)),
                };
                (endpoint, outcome.map_err(|failure| failure.at(facts.host)))
            }
            Some((Err(refusal), _turn)) => (None, Err(Failure::from(refusal))),
            // hyper found a request where the gate let none in. That is a bug, and nothing to be lenient about.
            None => (None, Err(Failure::new(Code::Internal))),
        };
        let (mut response, error) = match outcome {
            Ok(response) => (response, None),
            Err(failure) => {
                self.shared.metrics.refused(failure.code());
                (asked.respond(&failure).map(Answer::page), Some(failure))
            }
        };
        if self.shared.draining.is_cancelled() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // The connection may hear of it only after this answer.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let status = response.status().as_u16();
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
            self.report(&endpoint, id, &method, path, status, duration);
        }
        response
    }

    async fn exchange(
        &self,
        endpoint: &Arc<Endpoint>,
        facts: &Facts,
        id: RequestId,
        request: Request<Incoming>,
        turn: Turn,
    ) -> Result<Response<Answer>, Failure> {
        let permit = endpoint.admit().ok_or(Failure::new(Code::TooManyVisitors))?;
        forward::forward(self, endpoint, facts, id, request, (turn, permit)).await
    }

    fn report(
        &self,
        endpoint: &Endpoint,
        request: RequestId,
        method: &Method,
        path: String,
        status: u16,
        duration: std::time::Duration,
    ) {
        endpoint.report(|tunnel| RequestReport {
            tunnel,
            request,
            visitor: self.visitor,
            method: method.to_string(),
            path,
            status,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            hint: None,
            dropped: 0,
        });
    }
}

/// The path and query, cut to what a report may carry.
fn path(request: &Request<Incoming>) -> String {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    path[..path.floor_char_boundary(REPORTED_PATH)].to_owned()
}

#[cfg(test)]
mod tests;
