//! HTTP/1.1, both ways: from visitors, and towards upstreams that speak it.
//!
//! Who serves a visitor's connection reads its requests, has each answered, and writes the answer, in one task. Nothing of
//! a request gets past [`tunnel_router`] before its whole head was read and found unambiguous, and nobody else looks
//! for where it ends: what two readers could take differently never meets a second one.
//!
//! ```text
//!   socket ══► Wire ─► HeadReader ─► head::admit ─► Desk::answer_one ─► …
//!                │                                     ▲     │
//!                └───────────────────────────── Body ──┘     ▼
//!   socket ◄══ Wire ◄── Sending ◄── encode ◄───────────── Answer
//! ```
//!
//! One request is under way at a time: the next one waits until the answer to the last is over. That keeps bytes behind
//! an upgrade request out of HTTP until it is known whether they are HTTP (RFC 9931), and it lets a visitor who hangs up
//! be noticed even if it had sent more requests ahead.

mod chunks;
mod fields;

mod wire;

mod body;
mod head;

mod encode;
mod send;

mod linger;

pub(super) mod upstream;

use std::{future::poll_fn, io, pin::pin, sync::Arc, task::Poll};

use ::http::Request;
use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, debug_span};
use tunnel_io::Prefixed;
use tunnel_router::{HeadLimits, HeadReader};

pub(super) use self::body::Body;
use self::{
    body::Follower,
    head::{Asked, Terms},
    send::{Sending, Sent},
    wire::{Came, Wire},
};
use super::{
    Desk,
    body::Inbound,
    complete_target,
    socket::{Patience, Socket},
};
use crate::{ids, metrics::Metrics, shared::Shared};

/// What becomes of a connection after an answer.
enum After {
    /// The next request.
    Next,
    /// Its end.
    Close,
    /// Its bytes go to whoever waits for them.
    Switch(oneshot::Sender<Box<dyn Socket>>),
}

/// Serves a connection that began with `said`, some time ago, until it ends, the server has drained, or it stops.
///
/// # Cancel safety
/// Dropping it closes the connection and resets the exchange in flight.
pub(super) async fn serve(desk: Arc<Desk>, io: Box<dyn Socket>, said: Bytes, since: Instant) {
    let shared = desk.shared.clone();
    let wire = Wire::new(io, said, Patience::from(&shared.config().timeouts), since);
    let ended = tokio::select! {
        biased;
        () = shared.stopping.cancelled() => Ok(()),
        ended = serve_all(&desk, &wire, since) => ended,
    };
    // Also if an answer broke off first, whose upstream ends with everything else.
    if shared.stopping.is_cancelled() {
        return wire.abort_if_busy();
    }
    if let Err(error) = ended {
        Metrics::count(&shared.metrics.web_failures);
        debug!(visitor.addr = %desk.visitor, %error, "connection broken off");
    }
}

async fn serve_all(desk: &Desk, wire: &Wire, since: Instant) -> io::Result<()> {
    let shared = &desk.shared;
    let mut reader = HeadReader::new(HeadLimits::default());
    let mut resting = shared.load.resting();
    let mut unwanted = pin!(until_unwanted(shared, resting.clone(), Some(since)));
    let mut is_new = true;
    loop {
        let came = tokio::select! {
            biased;
            came = poll_fn(|cx| wire.poll_head(cx, &mut reader)) => came?,
            () = &mut unwanted => None,
        };
        let Some(came) = came else { return wire.close(true).await };
        // Boxed, so that a connection at rest doesn't hold the room for an exchange. It is made where it stays: moved there
        // it would be copied, with all the room that it doesn't use yet.
        let exchange = Box::write(Box::new_uninit(), exchange(desk, wire, came));
        match Box::into_pin(exchange).await? {
            After::Next => {}
            After::Close => return wire.close(false).await,
            After::Switch(switched) => {
                if let Some((io, ahead)) = wire.hand_over() {
                    // Whoever was to carry on is gone only if the upstream is.
                    let _ = switched.send(Box::new(Prefixed::new(ahead, io)));
                }
                return Ok(());
            }
        }
        if is_new || resting.is_cancelled() {
            // What was said to those at rest meanwhile wasn't said to this one.
            (is_new, resting) = (false, shared.load.resting());
            unwanted.set(until_unwanted(shared, resting.clone(), None));
        }
    }
}

/// Waits until a connection at rest is to be closed: the server has drained for long enough, or memory is tight and
/// those that are `resting` are asked to go. Nothing was asked yet of one that is new `since` then.
async fn until_unwanted(shared: &Shared, resting: CancellationToken, since: Option<Instant>) {
    resting.cancelled_owned().await;
    if shared.draining.is_cancelled() {
        match since {
            Some(since) => shared.closing_time_of_new(since).await,
            None => shared.closing_time().await,
        }
    }
}

/// Answers one request.
///
/// # Errors
/// When the visitor is gone, or its socket fails.
async fn exchange(desk: &Desk, wire: &Wire, came: Came) -> io::Result<After> {
    let asked = came.and_then(|(head, bytes)| head::admit(&head, &bytes));
    let (request, verdict, terms) = match asked {
        Ok(Asked { request, facts, terms }) => {
            let body = match Follower::new(facts.framing) {
                Some(follower) => Inbound::Visitor(wire.lend(follower, facts.expects_continue)),
                None => Inbound::Empty,
            };
            (request.map(|()| body), Ok(facts), terms)
        }
        Err(refusal) => (Request::new(Inbound::Empty), Err(refusal), Terms::REFUSED),
    };
    let mut response = {
        // It goes with this block: what is left of its body then is the wire's again.
        let mut request = request;
        complete_target(&mut request);
        let id = ids::request_id();
        let span = debug_span!("visitor", %id, addr = %desk.visitor);
        let mut answering = pin!(desk.answer_one(id, &mut request, verdict).instrument(span));
        poll_fn(|cx| match answering.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Ok(response)),
            Poll::Pending => wire.poll_gone(cx).map(|()| Err(gone())),
        })
        .await?
    };
    let switch = response.body_mut().take_switch();
    wire.begin_answer();
    let is_refused = response.status().is_client_error() || response.status().is_server_error();
    let mut sending = Sending::new(response, terms, wire.may_go_on(is_refused));
    let sent = poll_fn(|cx| match sending.poll(cx, wire) {
        Poll::Ready(sent) => Poll::Ready(sent),
        Poll::Pending => wire.poll_gone(cx).map(|()| Err(gone())),
    })
    .await?;
    if let Some(switch) = switch {
        return Ok(After::Switch(switch));
    }
    if matches!(sent, Sent::Next | Sent::Last) {
        wire.end_answer();
    }
    match sent {
        Sent::Next if linger::hear_out(wire).await => {
            wire.await_head();
            Ok(After::Next)
        }
        Sent::Next | Sent::Last => Ok(After::Close),
        Sent::Cut(error) => Err(io::Error::other(error)),
        Sent::Unmarked(error) => {
            wire.abort();
            Err(io::Error::other(error))
        }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the visitor hung up")
}
