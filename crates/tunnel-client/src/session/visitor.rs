//! One visitor, one stream: read who it is for, say that we have it, and hand it to whoever owns the tunnel.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
    time::timeout,
};
use tracing::debug;
use tunnel_io::Twinned;
use tunnel_mux::Stream;
use tunnel_protocol::{Code, StreamHeader, StreamKind, StreamReply};

use super::{
    Gauge, InFlight,
    twins::{Meeting, Twins, Visit},
};
use crate::{
    Event,
    forward::{self, Failure, Target},
    shared::Shared,
    tunnel::{
        Conn,
        table::{Entry, Handler},
    },
};

/// Serves a stream the server opened, to its end.
///
/// # Cancel safety
/// Dropping the future resets the visitor and the upstream.
pub(crate) fn serve(
    stream: Stream,
    shared: Arc<Shared>,
    gauge: Arc<Gauge>,
    twins: Arc<Twins>,
) -> impl Future<Output = ()> + Send {
    // What it takes to get a visitor started is boxed and freed before the long part, which may be idle for days.
    let arrival = Box::pin(arrive(stream, shared.clone(), gauge, twins));
    async move {
        match arrival.await {
            Some(Arrival::Visitor(visitor)) => visit(visitor, shared).await,
            // Boxed, since these are rare: others' futures keep no room for them.
            Some(Arrival::Early(visitor, moves)) => Box::pin(begin(visitor, moves, shared)).await,
            Some(Arrival::Moved(visit)) => Box::pin(go_on(visit)).await,
            None => {}
        }
    }
}

/// Serves a visitor until its primary comes.
async fn begin(visitor: Box<Visitor>, moves: oneshot::Receiver<oneshot::Sender<Visit>>, shared: Arc<Shared>) {
    let mut visit: Visit = Box::pin(visit(visitor, shared));
    tokio::select! {
        () = &mut visit => {}
        // Whoever wants it may be gone by now: its lane is lost, and so is the visitor.
        Ok(to) = moves => drop(to.send(visit)),
    }
}

/// Serves a visitor from there on.
async fn go_on(visit: oneshot::Receiver<Visit>) {
    if let Ok(visit) = visit.await {
        visit.await;
    }
}

/// A stream that has something to do.
enum Arrival {
    Visitor(Box<Visitor>),
    /// A visitor whose twin came first. It is served here until its primary comes.
    Early(Box<Visitor>, oneshot::Receiver<oneshot::Sender<Visit>>),
    /// That primary, and the visitor.
    Moved(oneshot::Receiver<Visit>),
}

/// Somebody new.
struct Visitor {
    stream: Twinned<Stream>,
    header: StreamHeader,
    in_flight: InFlight,
}

/// Reads who a stream is for, and says that we have it. `None` if nothing is left to do: the stream was of no use, or was
/// brought to another that is being served.
async fn arrive(
    mut stream: Stream,
    shared: Arc<Shared>,
    gauge: Arc<Gauge>,
    twins: Arc<Twins>,
) -> Option<Arrival> {
    let header = timeout(shared.settings.timeouts.header, read_header(&mut stream)).await.ok()??;
    let meeting = header.twin.map(|twin| twins.meet(twin));
    // A twin is no visitor more.
    let is_new = matches!(meeting, None | Some(Meeting::First(_)));
    let in_flight = is_new.then(|| gauge.enter());
    // At once, whatever follows: the multiplexer allows only so many streams that were not answered.
    let accepted = stream.write_all(&StreamReply::Accepted.encode()).await;
    if accepted.is_err_and(|error| !is_of_use(meeting.as_ref(), &error)) {
        return None;
    }
    let visitor = |stream, in_flight| Box::new(Visitor { stream, header, in_flight });
    match (meeting, in_flight) {
        (None, Some(in_flight)) => Some(Arrival::Visitor(visitor(stream.into(), in_flight))),
        (Some(Meeting::First(mut first)), Some(in_flight)) => {
            let moves = first.moves.take();
            let visitor = visitor(first.twinned(stream), in_flight);
            Some(match moves {
                Some(moves) => Arrival::Early(visitor, moves),
                None => Arrival::Visitor(visitor),
            })
        }
        (Some(Meeting::Second(second)), _) => second.bring(stream).map(Arrival::Moved),
        _ => None,
    }
}

/// Whether a stream that takes nothing of ours is of use yet: one of a pair, for what had come on it or will on the other.
fn is_of_use(meeting: Option<&Meeting>, error: &io::Error) -> bool {
    match meeting {
        // A primary may be over when it comes, and its twin have carried all but the end.
        Some(Meeting::Second(_)) => true,
        // The twin's lane is lost, which is nothing to the primary. A reset is the visitor's.
        Some(Meeting::First(first)) => first.moves.is_some() && tunnel_mux::is_lane_lost(error),
        Some(Meeting::Over) | None => false,
    }
}

async fn visit(visitor: Box<Visitor>, shared: Arc<Shared>) {
    let started = Box::pin(start(*visitor, &shared)).await;
    match started {
        Some(Started::Connection { stream, upstream, in_flight }) => {
            forward::relay(stream, upstream, &shared.traffic).await;
            drop(in_flight);
        }
        Some(Started::Flow { stream, peer, entry, in_flight }) => {
            let failed = |failure| tell(&failure, &entry, &shared);
            Box::pin(forward::udp::carry(stream, *peer, &shared.datagrams, failed)).await;
            drop(in_flight);
        }
        None => {}
    }
}

/// A visitor that has an upstream.
enum Started {
    Connection { stream: Twinned<Stream>, upstream: forward::Connection, in_flight: InFlight },
    Flow { stream: Twinned<Stream>, peer: Box<forward::udp::Peer>, entry: Arc<Entry>, in_flight: InFlight },
}

/// `None` if nothing is left to do: refused, or handed to a listener.
async fn start(visitor: Visitor, shared: &Shared) -> Option<Started> {
    let Visitor { mut stream, header, mut in_flight } = visitor;
    if !in_flight.find_place(&shared.visitors).await {
        debug!(tunnel = %header.tunnel, visitor = %header.request, "a visitor was refused: the client is full");
        return refuse(stream, Code::ClientBusy).await;
    }
    let Some(entry) = shared.table.get(header.tunnel) else {
        debug!(tunnel = %header.tunnel, visitor = %header.request, "the server opened a stream for a tunnel this client doesn't have");
        return refuse(stream, Code::NoSuchTunnel).await;
    };
    if (header.kind == StreamKind::Udp) != matches!(entry.handler, Handler::Datagrams(_)) {
        debug!(tunnel = %header.tunnel, kind = ?header.kind, "the server opened a stream of another kind than its tunnel");
        return refuse(stream, Code::NoSuchTunnel).await;
    }
    match &entry.handler {
        Handler::Forward(target) => match connect(target, &header, &entry, shared).await {
            Ok(upstream) => {
                let upstream = forward::Guarded::new(upstream);
                reply(&mut stream, StreamReply::Ready).await?;
                Some(Started::Connection { stream, upstream: upstream.release()?, in_flight })
            }
            Err(code) => refuse(stream, code).await,
        },
        Handler::Datagrams(upstream) => {
            match forward::udp::Peer::find(upstream, shared.settings.timeouts.upstream).await {
                Ok(peer) => {
                    reply(&mut stream, StreamReply::Ready).await?;
                    let (peer, in_flight) = (Box::new(peer), in_flight.not_waited_for());
                    Some(Started::Flow { stream, peer, entry, in_flight })
                }
                Err(failure) => {
                    tell(&failure, &entry, shared);
                    refuse(stream, failure.code()).await
                }
            }
        }
        Handler::Listen(queue, _) => match queue.try_reserve() {
            Ok(place) => {
                reply(&mut stream, StreamReply::Ready).await?;
                place.send(Conn::new(stream, header, in_flight));
                None
            }
            Err(tokio::sync::mpsc::error::TrySendError::Full(())) => refuse(stream, Code::ClientBusy).await,
            Err(tokio::sync::mpsc::error::TrySendError::Closed(())) => {
                refuse(stream, Code::NoSuchTunnel).await
            }
        },
    }
}

async fn connect(
    target: &Target,
    header: &StreamHeader,
    entry: &Entry,
    shared: &Shared,
) -> Result<forward::Connection, Code> {
    target.dial(header, shared.settings.timeouts.upstream).await.map_err(|failure| {
        tell(&failure, entry, shared);
        failure.code()
    })
}

/// Tells whoever watches that a visitor came and the upstream was not there.
fn tell(failure: &Failure, entry: &Entry, shared: &Shared) {
    let upstream = entry.upstream();
    debug!(tunnel = %entry.id, %upstream, %failure, "no upstream for a visitor");
    shared.emit(Event::UpstreamFailed {
        tunnel: entry.id,
        upstream,
        code: failure.code(),
        message: failure.to_string(),
    });
}

/// `None` for a stream that broke, or whose head makes no sense: it is reset.
async fn read_header(stream: &mut Stream) -> Option<StreamHeader> {
    let mut prefix = [0; 2];
    stream.read_exact(&mut prefix).await.ok()?;
    let length = StreamHeader::decode_length(prefix).ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    StreamHeader::decode(&body).ok()
}

async fn reply(stream: &mut Twinned<Stream>, reply: StreamReply) -> Option<()> {
    stream.write_all(&reply.encode()).await.ok()?;
    stream.flush().await.ok()
}

async fn refuse(mut stream: Twinned<Stream>, code: Code) -> Option<Started> {
    reply(&mut stream, StreamReply::Refused(code)).await?;
    // The refusal arrives whole whatever becomes of the stream then.
    let _ = stream.shutdown().await;
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a function's future keeps between polls.
    fn size<F>(_: impl FnOnce(Stream, Arc<Shared>, Arc<Gauge>, Arc<Twins>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_visitor_costs_little() {
        assert_eq!(size_of::<Twinned<Stream>>(), size_of::<Stream>(), "without a twin it is the stream");
        let bytes = size(serve);
        assert!(bytes <= 1024, "{bytes} bytes for each of up to 16,384 visitors");
    }
}
