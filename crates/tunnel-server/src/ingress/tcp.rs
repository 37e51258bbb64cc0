//! Public ports of TCP tunnels: each is open exactly as long as its lease's guard lives.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use tokio::{io::Interest, net::TcpStream};
use tracing::{Instrument, debug, info_span};
use tunnel_io::{Prefixed, RelayError, RelayOptions, Relayed, Side};
use tunnel_protocol::{Code, StreamKind};
use tunnel_transport::{Listener, reset, tune_visitor};

use super::{
    kept::Kept,
    port::PortGuard,
    proxy::{self, Ends},
};
use crate::{
    dispatch::{DispatchError, Visit},
    endpoint::Endpoint,
    ids,
    metrics::Metrics,
    policy::{self, Denied},
    records::Draft,
    rights::TunnelKind,
    shared::Shared,
    stream::VisitorStream,
    succession::PortSocket,
};

/// Opens `port` and dispatches whoever connects to `endpoint`. Visitors under way outlive the guard.
///
/// # Errors
/// The system's reason why the port can't be opened.
pub(crate) fn open(shared: &Shared, port: u16, endpoint: Arc<Endpoint>) -> io::Result<PortGuard> {
    let listener = match shared.succession.passed.tcp(port) {
        Some(socket) => Listener::from_std(socket)?,
        None => Listener::bind(SocketAddr::new(shared.config().bind, port))?,
    };
    let listener = Arc::new(listener);
    let serving = shared.visitors.spawn(accept(shared.clone(), listener.clone(), endpoint));
    // The port closes with its task, when the server drains.
    let listener = Arc::downgrade(&listener);
    let share = move || listener.upgrade().map(|listener| PortSocket::share_tcp(&listener)).transpose();
    Ok(PortGuard::new(serving, share))
}

async fn accept(shared: Shared, listener: Arc<Listener>, endpoint: Arc<Endpoint>) {
    if !shared.opened().await {
        return;
    }
    loop {
        let no_room = |socket, _| {
            endpoint.tally.refused(&shared.metrics, Code::TooManyVisitors);
            reset(socket);
        };
        let (socket, visitor) = tokio::select! {
            accepted = listener.accept_or(&shared.spare, no_room) => accepted,
            () = shared.draining.cancelled() => return,
            () = shared.stopping.cancelled() => return,
        };
        Metrics::count(&shared.metrics.tcp_visitors);
        let place = shared.connections.take(visitor.ip());
        endpoint.tally.count_connection();
        let places = place.and_then(|place| Ok((place, endpoint.admit()?)));
        let (mut place, permit) = match places {
            Ok(places) => places,
            Err(code) => {
                endpoint.tally.refused(&shared.metrics, code);
                reset(socket);
                continue;
            }
        };
        let request = ids::request_id();
        let local = socket.local_addr().unwrap_or(SocketAddr::new(shared.config().bind, 0));
        let (endpoint, mut socket) = (endpoint.clone(), socket);
        let visitors = shared.visitors.clone();
        let shared = shared.clone();
        let serving = async move {
            let _permit = permit;
            tune_visitor(&socket);
            let Some(Ends { visitor, local }) =
                proxy::who(&shared, &mut socket, Ends { visitor, local }).await
            else {
                return reset(socket);
            };
            if let Err(code) = place.set_visitor(visitor.ip()) {
                endpoint.tally.refused(&shared.metrics, code);
                return reset(socket);
            }
            let visit = Visit { request, visitor, local };
            let span = info_span!("visitor", id = %visit.request, addr = %visitor);
            let socket = Prefixed::new(Bytes::new(), socket);
            // Boxed inside: the task itself stays small for the thousands of visitors that only wait.
            tokio::select! {
                () = serve(&shared, &endpoint, socket, visit, TunnelKind::Tcp).instrument(span) => {}
                () = endpoint.over.cancelled() => {}
            }
        };
        visitors.spawn(serving);
    }
}

/// Carries one visitor, and first what was read of it already. A visitor that can't be carried, or whose upstream
/// breaks off, sees a reset: never an end that looks clean. Where several clients serve, one that doesn't reach its
/// upstream hands the visitor on.
pub(super) async fn serve(
    shared: &Shared,
    endpoint: &Arc<Endpoint>,
    mut socket: Prefixed<TcpStream>,
    visit: Visit,
    kind: TunnelKind,
) {
    let draft = shared.records.draft(visit.request, kind, visit.visitor, || None);
    draft.iter().for_each(|draft| draft.at(endpoint));
    let refused = |code| {
        endpoint.tally.refused(&shared.metrics, code);
        draft.iter().for_each(|draft| draft.set_code(code));
    };
    let policies = endpoint.known_policies();
    let admitted = if endpoint.is_paused() {
        Err(Code::TunnelPaused)
    } else {
        policies.admit(visit.visitor.ip()).map_err(Denied::code)
    };
    if let Err(code) = admitted {
        refused(code);
        debug!(%code, "visitor refused");
        return reset(socket.into_inner().0);
    }
    let (mut avoid, mut refusals) = (None, 0);
    let (socket, stream, relayed) = loop {
        let opening = policy::open(endpoint, StreamKind::Tcp, visit, policies.clone(), avoid.as_ref());
        let opened = tokio::select! {
            opened = Box::pin(opening) => opened,
            // A visitor that was reset while it waited gives its place up. One that only ended its side still waits.
            _ = socket.get_ref().ready(Interest::ERROR) => return debug!("visitor gone while it waited"),
        };
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(error) => {
                refused(error.code());
                debug!(%error, "visitor refused");
                return reset(socket.into_inner().0);
            }
        };
        draft.iter().for_each(Draft::set_queued);
        let options = RelayOptions { meter: draft.as_ref().map(Draft::meter), ..RelayOptions::default() };
        let mut kept = Kept::new(socket, endpoint.is_shared());
        let relayed = tunnel_io::relay(&mut kept, &mut stream, options).await;
        let target = stream.target().clone();
        if !endpoint.has_other(&target, refusals) || !was_turned_away(&relayed, &mut stream).await {
            break (kept.into_inner(), stream, relayed);
        }
        avoid = Some(target);
        refusals += 1;
        socket = match kept.rewind() {
            Ok(socket) => socket,
            Err(socket) => break (socket, stream, relayed),
        };
        debug!("visitor goes to another client");
    };
    endpoint.tally.touch();
    if let Some(draft) = &draft {
        stream.first_byte().into_iter().for_each(|at| draft.set_first_byte(at));
        draft.end(relayed.end.is_ok());
    }
    match relayed.end {
        Ok(()) => debug!(bytes.up = relayed.a_to_b, bytes.down = relayed.b_to_a, "visitor left"),
        Err(error) => {
            if error.side == Side::B {
                refused(DispatchError::from(&error.source).code());
            }
            endpoint.tally.count_cut();
            debug!(%error, bytes.up = relayed.a_to_b, bytes.down = relayed.b_to_a, "visitor cut off");
            stream.reset();
            reset(socket);
        }
    }
}

/// Whether the client didn't reach its upstream, and another may.
async fn was_turned_away(relayed: &Relayed, stream: &mut VisitorStream) -> bool {
    let Err(RelayError { side: Side::B, source, .. }) = &relayed.end else { return false };
    match DispatchError::from(source) {
        // What can't be written to any more says why when it is read.
        DispatchError::Broken(_) => {
            stream.ready().await.is_err_and(|error| DispatchError::from(&error).may_go_elsewhere())
        }
        error => error.may_go_elsewhere(),
    }
}
