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
    let (mut avoid, mut refusals, mut counted) = (None, 0, 0);
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
        draft.iter().for_each(Draft::begin_in);
        stream.set_counted(counted);
        let options = RelayOptions { meter: draft.as_ref().map(Draft::meter), ..RelayOptions::default() };
        let mut kept = Kept::new(socket, endpoint.is_shared());
        let relayed = tunnel_io::relay(&mut kept, &mut stream, options).await;
        let target = stream.target().clone();
        let has_other = endpoint.has_other(&target, refusals);
        if !has_other || !was_turned_away(&relayed, stream.ready(), kept.get_ref()).await {
            break (kept.into_inner(), stream, relayed);
        }
        avoid = Some(target);
        refusals += 1;
        counted = counted.max(stream.sent().bytes());
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

/// Whether the client didn't reach its upstream, and another may. If it is yet to say so, by its `answer`, a visitor
/// that is reset meanwhile needs none; one that only ended its side still waits, and what it sends waits in its socket.
async fn was_turned_away(
    relayed: &Relayed,
    answer: impl Future<Output = io::Result<()>>,
    visitor: &TcpStream,
) -> bool {
    let Err(RelayError { side: Side::B, source, .. }) = &relayed.end else { return false };
    match DispatchError::from(source) {
        // What can't be written to any more says why when it is read.
        DispatchError::Broken(_) => tokio::select! {
            biased;
            answer = answer => answer.is_err_and(|error| DispatchError::from(&error).may_go_elsewhere()),
            _ = visitor.ready(Interest::ERROR) => false,
        },
        error => error.may_go_elsewhere(),
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::*;
    use crate::stream::StreamRefused;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        net::TcpListener,
        time::timeout,
    };

    /// Only a hang takes so long.
    const HANG: Duration = Duration::from_secs(20);

    /// A visitor, and what the server has of it.
    async fn visitor() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let visitor = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (visitor, listener.accept().await.unwrap().0)
    }

    /// What a relay ends with when its stream can't be written to, and hasn't said why.
    async fn broken() -> Relayed {
        let ((mut visitor, mut speaking), (mut stream, _)) = (duplex(8), duplex(8));
        speaking.write_all(b"x").await.unwrap();
        let relayed = tunnel_io::relay(&mut visitor, &mut stream, RelayOptions::default()).await;
        assert!(matches!(&relayed.end, Err(error) if error.side == Side::B));
        relayed
    }

    #[tokio::test]
    async fn nobody_waits_for_the_answer_to_a_visitor_that_was_reset() {
        let (visitor, socket) = visitor().await;
        let relayed = broken().await;
        let turned_away = was_turned_away(&relayed, pending(), &socket);
        let left = async {
            tokio::task::yield_now().await;
            reset(visitor);
        };
        let (turned_away, ()) = tokio::join!(timeout(HANG, turned_away), left);
        assert!(!turned_away.expect("it ends with the visitor"));
    }

    #[tokio::test]
    async fn a_visitor_that_ended_its_side_is_waited_for_and_loses_nothing() {
        let (mut visitor, mut socket) = visitor().await;
        visitor.write_all(b"all I have").await.unwrap();
        visitor.shutdown().await.unwrap();
        let relayed = broken().await;
        // It has seen all of that, and goes on waiting.
        let mut peeked = [0; 1];
        socket.peek(&mut peeked).await.unwrap();
        let (say, said) = tokio::sync::oneshot::channel();
        let answer = async { said.await.unwrap_or(Ok(())) };
        let mut turned_away = Box::pin(was_turned_away(&relayed, answer, &socket));
        assert!(timeout(Duration::from_millis(50), &mut turned_away).await.is_err());
        say.send(Err(io::Error::other(StreamRefused(Code::UpstreamRefused)))).unwrap();
        assert!(timeout(HANG, &mut turned_away).await.unwrap());
        drop(turned_away);
        let mut sent = String::new();
        socket.read_to_string(&mut sent).await.unwrap();
        assert_eq!(sent, "all I have");
    }
}
