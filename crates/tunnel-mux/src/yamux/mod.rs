//! A lane by yamux: the only place that names the crate of that name, because its streams cannot
//! tell a reset from an end and its connection dies of one stream too many.
//!
//! Frames pass [`wire`] on their way between yamux and the socket. That is where resets are seen
//! and sent, where pings are answered, and where the streams yamux holds are counted.

mod wire;

mod backlog;
mod places;
mod requests;
mod stream;

mod turn;

mod driver;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

pub(crate) use ::yamux::Mode;
pub(crate) use places::{Permit, Shared};
pub(crate) use requests::Withdraw;
pub use stream::Stream;

use crate::{Activity, Config, Driver, Incoming, Lane, Opener};
use driver::Engine;
use wire::SharedWire;

pub(crate) fn lane<T>(io: T, config: &Config, mode: Mode) -> Lane
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let config = config.clamped();
    let activity = Activity::new();
    let shared =
        Arc::new(Shared::new(config.max_streams, config.held_limit(), config.receive_budget.clone()));
    if let Some(budget) = &config.receive_budget {
        budget.join(&shared);
    }
    let wire = SharedWire::new(io, activity.clone(), Arc::clone(&shared));
    let connection = ::yamux::Connection::new(wire.clone(), yamux_config(&config), mode);
    let (accept, accepted) = mpsc::channel(config.accept_queue);
    let engine = Engine::new(connection, wire, Arc::clone(&shared), accept);
    Lane {
        opener: Opener { shared },
        incoming: Incoming { accepted },
        driver: Driver(Box::pin(engine)),
        activity,
    }
}

fn yamux_config(config: &Config) -> ::yamux::Config {
    let mut yamux = ::yamux::Config::default();
    // Each setter asserts that window and streams agree, so no window stands between the two.
    yamux
        .set_max_connection_receive_window(None)
        .set_max_num_streams(config.held_limit())
        .set_max_connection_receive_window(Some(config.total_window()))
        .set_split_send_size(config.frame_size);
    yamux
}
