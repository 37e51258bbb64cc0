//! Public ports of TCP tunnels: each is open exactly as long as its lease's guard lives.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{io::Interest, net::TcpStream};
use tracing::{Instrument, debug, info_span};
use tunnel_io::{RelayOptions, Side};
use tunnel_protocol::{Code, StreamKind};
use tunnel_transport::{Listener, reset, tune_visitor};

use super::port::PortGuard;
use crate::{
    dispatch::{self, DispatchError, Visit},
    endpoint::Endpoint,
    ids,
    metrics::Metrics,
    shared::Shared,
};

/// Opens `port` and dispatches whoever connects to `endpoint`. Visitors under way outlive the guard.
///
/// # Errors
/// The system's reason why the port can't be opened.
pub(crate) fn open(shared: &Shared, port: u16, endpoint: Arc<Endpoint>) -> io::Result<PortGuard> {
    let listener = Listener::bind(SocketAddr::new(shared.config.bind, port))?;
    Ok(PortGuard::new(shared.visitors.spawn(accept(shared.clone(), listener, endpoint))))
}

async fn accept(shared: Shared, listener: Listener, endpoint: Arc<Endpoint>) {
    loop {
        let (socket, visitor) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.draining.cancelled() => return,
            () = shared.stopping.cancelled() => return,
        };
        Metrics::count(&shared.metrics.tcp_visitors);
        let place = shared.connections.clone().try_acquire_owned().ok();
        let Some(permit) = place.zip(endpoint.admit()) else {
            shared.metrics.refused(Code::TooManyVisitors);
            reset(socket);
            continue;
        };
        let visit = Visit {
            request: ids::request_id(),
            visitor,
            local: socket.local_addr().unwrap_or(SocketAddr::new(shared.config.bind, 0)),
        };
        let span = info_span!("visitor", id = %visit.request, addr = %visitor);
        let (stopping, metrics, endpoint) =
            (shared.stopping.clone(), shared.metrics.clone(), endpoint.clone());
        let serving = async move {
            let _permit = permit;
            tune_visitor(&socket);
            // Boxed inside: the task itself stays small for the thousands of visitors that only wait.
            tokio::select! {
                () = serve(&metrics, &endpoint, socket, visit) => {}
                () = stopping.cancelled() => {}
            }
        };
        shared.visitors.spawn(serving.instrument(span));
    }
}

/// Carries one visitor. A visitor that can't be carried, or whose upstream breaks off, sees a reset: never an end
/// that looks clean.
async fn serve(metrics: &Metrics, endpoint: &Arc<Endpoint>, mut socket: TcpStream, visit: Visit) {
    let opened = tokio::select! {
        opened = Box::pin(dispatch::open(endpoint, StreamKind::Tcp, visit)) => opened,
        // A visitor that was reset while it waited gives its place up. One that only ended its side still waits.
        _ = socket.ready(Interest::ERROR) => return debug!("visitor gone while it waited"),
    };
    let mut stream = match opened {
        Ok(stream) => stream,
        Err(error) => {
            metrics.refused(error.code());
            debug!(%error, "visitor refused");
            return reset(socket);
        }
    };
    let relayed = tunnel_io::relay(&mut socket, &mut stream, RelayOptions::default()).await;
    match relayed.end {
        Ok(()) => debug!(bytes.up = relayed.a_to_b, bytes.down = relayed.b_to_a, "visitor left"),
        Err(error) => {
            if error.side == Side::B {
                metrics.refused(DispatchError::from(&error.source).code());
            }
            debug!(%error, bytes.up = relayed.a_to_b, bytes.down = relayed.b_to_a, "visitor cut off");
            stream.reset();
            reset(socket);
        }
    }
}
