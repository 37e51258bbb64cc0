//! One flow of a UDP tunnel and a socket of its own towards the upstream, joined.
//!
//! The upstream tells flows apart by our sockets' ports, as it would tell visitors apart by theirs. Nothing here waits
//! for another flow, and what can't be passed on at once is dropped and counted. A flow ends when the server ends it.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::UdpSocket,
    time::{Instant, timeout},
};
use tracing::trace;
use tunnel_io::Meter;
use tunnel_protocol::datagram::{Decoder, FlowError, Frame, Outbox};
use tunnel_transport::connect_datagrams;

use super::{
    Upstream,
    dial::{Failure, resolve},
    upstream::Place,
};

/// Datagrams taken from a socket before the other direction gets a turn.
const BURST: usize = 64;

/// Whether an upstream can be sent datagrams.
pub(crate) fn is_possible(upstream: &Upstream) -> bool {
    matches!(upstream.0, Place::Tcp(_))
}

/// What became of all flows' datagrams.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Bytes; side A is the visitors.
    pub(crate) traffic: Meter,
    /// Datagrams dropped, either way.
    pub(crate) dropped: AtomicU64,
}

/// The upstream, as one flow has it.
#[derive(Debug)]
pub(crate) struct Peer {
    upstream: Upstream,
    socket: UdpSocket,
    /// `None` once the upstream has answered, or if it has one address only.
    search: Option<Search>,
    /// Whether it was told that nothing listens there, and nothing has come since.
    is_refusing: bool,
}

/// An upstream with several addresses of which one may be the right one. Only a refusal tells.
#[derive(Debug)]
struct Search {
    addresses: Vec<SocketAddr>,
    at: usize,
    /// The visitor's last datagram, to be sent again to the next address.
    last: Box<[u8]>,
    /// Addresses it may still be sent to.
    left: usize,
}

impl Peer {
    /// Finds the upstream's addresses within `limit`. Whether anything listens there isn't known then.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn find(upstream: &Upstream, limit: Duration) -> Result<Self, Failure> {
        let unreachable = |error| Failure::of(upstream, error);
        let Place::Tcp(address) = &upstream.0 else {
            return Err(unreachable(io::ErrorKind::Unsupported.into()));
        };
        let found = timeout(limit, resolve(address)).await;
        let addresses = found.map_err(|_| Failure::Timeout(upstream.clone(), limit))?.map_err(unreachable)?;
        let mut failure = io::ErrorKind::NotFound.into();
        for (at, address) in addresses.iter().enumerate() {
            match connect_datagrams(*address) {
                Ok(socket) => {
                    let last = Box::default();
                    let search = (addresses.len() > 1).then_some(Search { addresses, at, last, left: 0 });
                    return Ok(Self { upstream: upstream.clone(), socket, search, is_refusing: false });
                }
                Err(error) => failure = error,
            }
        }
        Err(unreachable(failure))
    }

    /// Sends a visitor's datagram; whether the system took it.
    async fn send(&mut self, datagram: &[u8], failed: &mut impl FnMut(Failure)) -> bool {
        if let Some(search) = &mut self.search {
            search.last = datagram.into();
            search.left = search.addresses.len() - 1;
        }
        for _ in 0..2 {
            match self.socket.send(datagram).await {
                Ok(_) => return true,
                // That was about an earlier one, and this one was not sent.
                Err(error) if is_refusal(&error) => match self.refused(error).await {
                    Refused::Moved => return true,
                    Refused::Here(failure) => failure.into_iter().for_each(&mut *failed),
                },
                Err(error) => {
                    trace!(%error, "a datagram can't be sent");
                    return false;
                }
            }
        }
        false
    }

    /// Shows `take` what came.
    fn receive(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut any = false;
        let result = tunnel_io::scratch::with(|buffer| {
            for _ in 0..BURST {
                match self.socket.try_recv(buffer) {
                    Ok(length) => take(&buffer[..length]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
                any = true;
            }
            Ok(())
        });
        if any {
            self.search = None;
            self.is_refusing = false;
        }
        result
    }

    /// Nothing listens where we sent to: sends the last datagram to the next address, if there is one left.
    async fn refused(&mut self, error: io::Error) -> Refused {
        while let Some(search) = self.search.as_mut().filter(|search| search.left > 0) {
            search.left -= 1;
            search.at = (search.at + 1) % search.addresses.len();
            if let Ok(socket) = connect_datagrams(search.addresses[search.at]) {
                self.socket = socket;
                if self.socket.send(&search.last).await.is_ok() {
                    return Refused::Moved;
                }
            }
        }
        let is_new = !std::mem::replace(&mut self.is_refusing, true);
        let upstream = || self.upstream.clone();
        Refused::Here(is_new.then(|| match is_refusal(&error) {
            true => Failure::Refused(upstream()),
            false => Failure::Unreachable(upstream(), error),
        }))
    }
}

/// What became of a refused datagram.
enum Refused {
    /// It was sent to another address.
    Moved,
    /// There is no other address. With what to tell, if it wasn't told yet.
    Here(Option<Failure>),
}

/// Whether the upstream's machine said that nothing listens there. Windows has another word for it.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}

/// Carries a flow until its stream ends. `failed` hears when nothing listens at the upstream, once until it answers
/// again; the flow goes on, since it may be started any time.
///
/// # Cancel safety
/// Dropping the future ends the flow.
pub(crate) async fn carry<S>(stream: S, mut peer: Peer, counts: &Counts, failed: impl FnMut(Failure))
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (read, write) = tokio::io::split(stream);
    let outbox = Mutex::new(Outbox::default());
    let end = tokio::select! {
        end = to_server(write, &outbox, counts) => end,
        end = exchange(read, &mut peer, &outbox, counts, failed) => end,
    };
    if let Err(error) = end {
        trace!(%error, "a flow ended");
    }
}

async fn to_server(
    mut stream: impl AsyncWrite + Unpin,
    outbox: &Mutex<Outbox>,
    counts: &Counts,
) -> io::Result<()> {
    loop {
        let batch = poll_fn(|cx| lock(outbox).poll_batch(cx, now())).await;
        counts.dropped.fetch_add(batch.dropped, Ordering::Relaxed);
        stream.write_all(&batch.bytes).await?;
    }
}

async fn exchange(
    mut stream: impl AsyncRead + Unpin,
    peer: &mut Peer,
    outbox: &Mutex<Outbox>,
    counts: &Counts,
    mut failed: impl FnMut(Failure),
) -> io::Result<()> {
    let mut decoder = Decoder::default();
    loop {
        tokio::select! {
            read = tunnel_io::scratch::read_once(&mut stream, |bytes| decoder.push(bytes)) => {
                if read? == 0 {
                    return Ok(());
                }
                while let Some(frame) = decoder.next_frame().map_err(broken)? {
                    if let Frame::Datagram(datagram) = &frame {
                        counts.traffic.add_a_to_b(datagram.len() as u64);
                        let dropped = u64::from(!peer.send(datagram, &mut failed).await);
                        counts.dropped.fetch_add(dropped, Ordering::Relaxed);
                    }
                    lock(outbox).took(&frame, now()).map_err(broken)?;
                }
            }
            ready = peer.socket.readable() => {
                ready?;
                let now = now();
                let received = peer.receive(|datagram| {
                    counts.traffic.add_b_to_a(datagram.len() as u64);
                    let dropped = lock(outbox).push(datagram, now);
                    counts.dropped.fetch_add(dropped, Ordering::Relaxed);
                });
                if let Err(error) = received
                    && let Refused::Here(failure) = peer.refused(error).await
                {
                    counts.dropped.fetch_add(1, Ordering::Relaxed);
                    failure.into_iter().for_each(&mut failed);
                }
            }
        }
    }
}

fn broken(error: FlowError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn lock(outbox: &Mutex<Outbox>) -> MutexGuard<'_, Outbox> {
    outbox.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a flow's future keeps between polls.
    fn size<F>(_: impl FnOnce(tokio::io::DuplexStream, Peer, &'static Counts, fn(Failure)) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_flow_costs_little() {
        let bytes = size(carry) + size_of::<Peer>();
        assert!(bytes <= 2048, "{bytes} bytes for each of up to 16,384 flows");
    }
}
