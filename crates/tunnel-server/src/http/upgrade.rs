//! WebSocket and its like: an exchange that ends by becoming a plain stream of bytes.
//!
//! Only the upstream can make it so, with a 101 that names a protocol the visitor asked for. Up to then the gate
//! holds back whatever the visitor sent behind its request.

use std::pin::pin;

use ::http::{Response, header::UPGRADE};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tracing::debug;
use tunnel_io::{RelayOptions, relay};

use super::{
    answer::{Answer, Exchange},
    gate::{Turn, Turns},
    headers,
};
use crate::{endpoint::VisitorPermit, shared::Shared};

/// Makes the visitor's 101 of the upstream's, and relays bytes from then on in a task of the server's.
///
/// `None` if the upstream chose a protocol that wasn't asked for.
pub(super) fn switch(
    shared: &Shared,
    asked: &str,
    visitor: OnUpgrade,
    response: &mut Response<Incoming>,
    exchange: Exchange,
    (turn, permit): (Turn, VisitorPermit),
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
    headers::set_upgrade(switched.headers_mut(), chosen);

    let upstream = hyper::upgrade::on(&mut *response);
    exchange.release();
    let turns = turn.upgrade();
    let stopping = shared.stopping.clone();
    shared.visitors.spawn(async move {
        let _permit = permit;
        // Pinned outside, so that it is dropped after the cut that its drop is to carry out.
        let mut carrying = pin!(carry(visitor, upstream, &turns));
        tokio::select! {
            biased;
            () = stopping.cancelled() => turns.cut(),
            () = &mut carrying => {}
        }
    });
    Some(switched)
}

async fn carry(visitor: OnUpgrade, upstream: OnUpgrade, turns: &Turns) {
    // Either fails if its connection breaks first; the other is then given up, which resets it.
    let (visitor, upstream): (Upgraded, Upgraded) = match tokio::try_join!(visitor, upstream) {
        Ok(both) => both,
        Err(error) => {
            debug!(error = &error as &dyn std::error::Error, "the change of protocol did not come about");
            return turns.cut();
        }
    };
    let (mut visitor, mut upstream) = (TokioIo::new(visitor), TokioIo::new(upstream));
    let relayed = relay(&mut visitor, &mut upstream, RelayOptions::default()).await;
    if let Err(error) = relayed.end {
        debug!(error = &error as &dyn std::error::Error, "upgraded connection broken off");
        // A cut is no end: neither side may take it for one. Dropping the upstream's stream resets it.
        turns.cut();
    }
}
