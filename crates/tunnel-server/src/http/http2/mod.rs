//! HTTP/2, both ways: from visitors, and towards upstreams that speak it.
//!
//! A visitor's connection carries many requests at once; each is answered by a task of the connection's, on the same
//! desk as HTTP/1's. What one of them waits for holds up none of the others.
//!
//! ```text
//!   socket ─► wire ─► h2 ─► facts ─► Desk::answer_one ─► … ─► send ─► h2
//! ```

mod frames;
mod purse;
mod wire;

mod early;
mod facts;
mod linger;

pub(super) mod body;
pub(super) mod io;
pub(super) mod send;
pub(super) mod upstream;

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use ::h2::{Ping, PingPong, RecvStream, server};
use ::http::{Request, Response};
use bytes::Bytes;
use tokio::{
    task::JoinSet,
    time::{Instant, Sleep, sleep},
};
use tracing::{Instrument, debug, debug_span};
use tunnel_router::Framing;

use self::{
    body::Streamed,
    io::StreamIo,
    linger::{Places, Whole},
    send::{SendError, send},
    wire::Wire,
};
pub(super) use self::{early::Early, frames::PREFACE};
use super::{
    Desk,
    body::Inbound,
    socket::{Patience, Socket},
};
use crate::{ids, metrics::Metrics};

/// Requests of one connection at once (RFC 9113 §5.1.2 recommends no less).
const STREAMS: u32 = 100;

/// What a visitor may send ahead of its upstream, in bytes: for one request, and for all. It is the most that one
/// connection makes us hold of requests.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;

/// How much of an answer is handed to `h2` ahead of the socket, in bytes: times [`STREAMS`], the most that one
/// connection that doesn't read makes us hold, until the wire's deadline.
const SEND_BUFFER: usize = 64 * 1024;

/// The most a head may have, decoded, in bytes: as on HTTP/1. Over it `h2` answers 431, and over four times that it
/// ends the connection.
const HEAD: u32 = 32 * 1024;

/// How many streams `h2` may have to reset for breaking the rules before it ends the connection. Nobody does that
/// unless on purpose, to have work begun and thrown away ("MadeYouReset").
const BROKEN_STREAMS: usize = 64;

/// Serves one visitor's connection until it ends, the server has drained, or it stops.
///
/// # Cancel safety
/// Dropping it closes the connection, which tells the visitor that nothing under way is whole.
pub(super) async fn serve<T: Socket>(desk: Arc<Desk>, io: T) {
    let patience = Patience::from(&desk.shared.config().timeouts);
    let shared = desk.shared.clone();
    let mut connection = tokio::select! {
        biased;
        () = shared.stopping.cancelled() => return,
        shaken = handshake(Wire::new(io, patience)) => match shaken {
            Ok(connection) => connection,
            Err(error) => {
                Metrics::count(&shared.metrics.web_failures);
                return debug!(visitor.addr = %desk.visitor, %error, "no HTTP/2");
            }
        },
    };
    let mut pulse = connection.ping_pong().map(|pings| Pulse::new(pings, patience));
    let mut answers = JoinSet::new();
    let lingering = Places::new();
    let mut rest = pin!(sleep(patience.head));
    let mut is_leaving = false;
    let mut resting = shared.load.resting();
    loop {
        tokio::select! {
            biased;
            () = shared.stopping.cancelled() => return,
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    answers.spawn(desk.clone().answer_stream(request, respond, patience, lingering.clone()));
                }
                Some(Err(error)) => {
                    Metrics::count(&shared.metrics.web_failures);
                    return debug!(visitor.addr = %desk.visitor, %error, "connection broken off");
                }
                None => return,
            },
            Some(_answered) = answers.join_next() => rest.as_mut().reset(Instant::now() + patience.idle),
            () = resting.cancelled(), if !is_leaving => {
                resting = shared.load.resting();
                let is_at_rest = !connection.has_streams() && answers.is_empty();
                if shared.draining.is_cancelled() || is_at_rest {
                    is_leaving = true;
                    connection.graceful_shutdown();
                }
            }
            () = &mut rest => {
                if !connection.has_streams() && answers.is_empty() {
                    if is_leaving {
                        return;
                    }
                    is_leaving = true;
                    connection.graceful_shutdown();
                }
                // After the goodbye there is little to wait for: what it asked for before it heard of that.
                let patience = if is_leaving { patience.head } else { patience.idle };
                rest.as_mut().reset(Instant::now() + patience);
            }
            () = Pulse::lost(&mut pulse) => {
                Metrics::count(&shared.metrics.web_failures);
                return debug!(visitor.addr = %desk.visitor, "visitor gone");
            }
        }
    }
}

async fn handshake<T: Socket>(wire: Wire<T>) -> Result<server::Connection<Wire<T>, Bytes>, ::h2::Error> {
    server::Builder::new()
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(HEAD)
        .max_local_error_reset_streams(Some(BROKEN_STREAMS))
        .enable_connect_protocol()
        .handshake(wire)
        .await
}

/// Asks a visitor from time to time whether it is still there.
struct Pulse {
    pings: PingPong,
    patience: Patience,
    next: Pin<Box<Sleep>>,
    is_asked: bool,
}

impl Pulse {
    fn new(pings: PingPong, patience: Patience) -> Self {
        Self { pings, patience, next: Box::pin(sleep(patience.stall)), is_asked: false }
    }

    /// Waits until the visitor no longer answers.
    async fn lost(this: &mut Option<Self>) {
        let Some(this) = this else { return std::future::pending().await };
        poll_fn(|cx| {
            loop {
                if this.is_asked && this.pings.poll_pong(cx).is_ready() {
                    this.is_asked = false;
                    this.next.as_mut().reset(Instant::now() + this.patience.stall);
                }
                std::task::ready!(this.next.as_mut().poll(cx));
                if this.is_asked {
                    return Poll::Ready(());
                }
                this.is_asked = this.pings.send_ping(Ping::opaque()).is_ok();
                this.next.as_mut().reset(Instant::now() + this.patience.stall);
            }
        })
        .await;
    }
}

impl Desk {
    /// Answers one request of an HTTP/2 connection.
    async fn answer_stream(
        self: Arc<Self>,
        request: Request<RecvStream>,
        respond: server::SendResponse<Bytes>,
        patience: Patience,
        lingering: Places,
    ) {
        let id = ids::request_id();
        let span = debug_span!("visitor", %id, addr = %self.visitor);
        let answered = self.answer_on(id, request, respond, patience, &lingering).instrument(span).await;
        if let Err(error) = answered {
            debug!(visitor.addr = %self.visitor, request.id = %id, %error, "answer broken off");
        }
    }

    async fn answer_on(
        &self,
        id: tunnel_protocol::RequestId,
        request: Request<RecvStream>,
        mut respond: server::SendResponse<Bytes>,
        patience: Patience,
        lingering: &Places,
    ) -> Result<(), SendError> {
        let (mut head, stream) = request.into_parts();
        let verdict = facts::read(&mut head, stream.is_end_stream());
        let (early, mut said) = Early::new();
        let whole = (!stream.is_end_stream()).then(Whole::default);
        let mut tunnel = None;
        let body = match &verdict {
            Ok(facts) if facts.upgrade.is_some() => {
                tunnel = Some(stream);
                Inbound::Empty
            }
            Ok(facts) => {
                let length = match facts.framing {
                    Framing::Length(length) => Some(length),
                    Framing::None => Some(0),
                    Framing::Chunked => None,
                };
                let mut body = Streamed::new(stream, length).of_request().with_patience(patience.stall);
                if let Some(whole) = &whole {
                    body = body.telling(whole.clone());
                }
                Inbound::Http2(if facts.expects_continue { body.on_wanted(early.clone()) } else { body })
            }
            Err(_) => {
                // Nobody reads it, and what came of it needs no room.
                drop(stream);
                Inbound::Empty
            }
        };
        let method = head.method.clone();
        head.extensions.insert(early);
        let mut response = {
            let mut request = Request::from_parts(head, body);
            let mut answering = pin!(self.answer_one(id, &mut request, verdict));
            loop {
                tokio::select! {
                    biased;
                    reason = poll_fn(|cx| respond.poll_reset(cx)) => return Err(SendError::Reset(reason?)),
                    Some(early) = said.recv() => respond.send_informational(early)?,
                    response = &mut answering => break response,
                }
            }
        };
        // What came together with the answer is still said before it.
        while let Ok(early) = said.try_recv() {
            respond.send_informational(early)?;
        }
        match (response.body_mut().take_switch(), tunnel) {
            (Some(switched), Some(from)) => {
                let (mut head, _) = response.into_parts();
                send::strip(&mut head.headers);
                let to = respond.send_response(Response::from_parts(head, ()), false)?;
                // Whoever was to carry on is gone only if the upstream is.
                let _ = switched.send(Box::new(StreamIo::new(to, from)));
                Ok(())
            }
            (_, tunnel) => {
                drop(tunnel);
                send(&mut respond, &method, response, patience.stall).await?;
                if let Some(whole) = whole {
                    whole.linger(&mut respond, lingering, patience.linger).await;
                }
                Ok(())
            }
        }
    }
}
