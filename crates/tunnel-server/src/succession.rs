//! One server process after another, without a visitor noticing: what the old one passes on, and what each does while
//! both are there.
//!
//! ```text
//!   old   serves ── hand_over ── clients_moved ──── drains ────► ∎
//!                      │ leases, ports       │ doors
//!   new      built ────┴─ inherit, run: clients ─┴─ open: visitors ────►
//! ```
//! Both listen on the same sockets, so whoever accepts a connection serves it and nobody is refused. Clients go first:
//! each makes a session with the successor before it leaves, and leaves without being let go, so that the old process
//! goes on with its own visitors over the old sessions. Only then do visitors find the new one. Until then the old one
//! has let go of nothing, and takes everything back if the new one dies.

use std::{
    collections::HashMap,
    io,
    net::{TcpListener, UdpSocket},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tunnel_transport::share_datagrams;

use crate::{registry::SavedLease, shared::Shared};

/// What a server passes on to its successor: who holds which names, and the open ports of tunnels.
#[derive(Debug, Default)]
pub struct Estate {
    /// As [`ServerHandle::leases`](crate::ServerHandle::leases) has them.
    pub leases: Vec<SavedLease>,
    /// The sockets of TCP and UDP tunnels, shared with the one that passes them on.
    pub ports: Vec<PortSocket>,
}

/// The socket of a tunnel's port.
#[derive(Debug)]
pub enum PortSocket {
    /// Of a TCP tunnel; it listens.
    Tcp(TcpListener),
    /// Of a UDP tunnel.
    Udp(UdpSocket),
}

/// What one kind of socket says of itself, so that the right one is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Tcp,
    Udp,
}

/// The sockets that a predecessor passed on, until their tunnels are set up.
#[derive(Debug, Default)]
pub(crate) struct Passed(Mutex<HashMap<(Kind, u16), PortSocket>>);

/// Where a server stands between its predecessor and its successor.
#[derive(Debug, Default)]
pub(crate) struct Succession {
    /// Cancelled when visitors are let in.
    pub(crate) open: CancellationToken,
    /// Whether a successor has come: clients and names are its business.
    pub(crate) succeeded: watch::Sender<bool>,
    /// Ports passed on by a predecessor.
    pub(crate) passed: Passed,
}

/// How long a connection that was kept open for a next request still waits for it when a successor has come. Whoever
/// asks within it is answered and told to connect anew, and nobody's request meets a closing connection.
const KEPT: Duration = Duration::from_secs(5);

/// How long after it connected a visitor's first request is waited for, whatever else is to be closed. It is mostly on
/// the way already, and nobody sends it again who is answered with a reset.
const ARRIVING: Duration = Duration::from_secs(1);

impl Succession {
    /// A server that lets visitors in from the start.
    pub(crate) fn open() -> Self {
        let this = Self::default();
        this.open.cancel();
        this
    }

    /// A server that waits for its predecessor's word.
    pub(crate) fn closed() -> Self {
        Self::default()
    }
}

impl PortSocket {
    /// Another handle to a socket.
    pub(crate) fn share_tcp(socket: &tunnel_transport::Listener) -> io::Result<Self> {
        Ok(Self::Tcp(socket.share()?))
    }

    /// The same, for datagrams.
    pub(crate) fn share_udp(socket: &tokio::net::UdpSocket) -> io::Result<Self> {
        Ok(Self::Udp(share_datagrams(socket)?))
    }

    fn key(&self) -> io::Result<(Kind, u16)> {
        Ok(match self {
            Self::Tcp(socket) => (Kind::Tcp, socket.local_addr()?.port()),
            Self::Udp(socket) => (Kind::Udp, socket.local_addr()?.port()),
        })
    }
}

impl Passed {
    /// Keeps sockets for the tunnels that are about to be set up.
    pub(crate) fn put(&self, sockets: Vec<PortSocket>) {
        let mut passed = self.lock();
        // One that doesn't know its own address is of no use to anyone.
        passed.extend(sockets.into_iter().filter_map(|socket| Some((socket.key().ok()?, socket))));
    }

    /// The socket of a TCP port, if it was passed on.
    pub(crate) fn tcp(&self, port: u16) -> Option<TcpListener> {
        match self.lock().remove(&(Kind::Tcp, port)) {
            Some(PortSocket::Tcp(socket)) => Some(socket),
            _ => None,
        }
    }

    /// The socket of a UDP port, if it was passed on.
    pub(crate) fn udp(&self, port: u16) -> Option<UdpSocket> {
        match self.lock().remove(&(Kind::Udp, port)) {
            Some(PortSocket::Udp(socket)) => Some(socket),
            _ => None,
        }
    }

    /// Lets go of what nobody claimed.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Kind, u16), PortSocket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Whether a successor has come.
    pub(crate) fn has_successor(&self) -> bool {
        *self.succession.succeeded.borrow()
    }

    /// Waits until a successor has come, or is gone again.
    pub(crate) async fn successor(&self, is_there: bool) {
        // The sender is in this very struct.
        let _ = self.succession.succeeded.subscribe().wait_for(|succeeded| *succeeded == is_there).await;
    }

    /// Waits until visitors are let in; whether they ever will be.
    pub(crate) async fn opened(&self) -> bool {
        tokio::select! {
            biased;
            () = self.draining.cancelled() => false,
            () = self.succession.open.cancelled() => true,
        }
    }

    /// Waits until a connection on which nobody asks anything is to be closed, since the server drains.
    pub(crate) async fn closing_time(&self) {
        self.draining.cancelled().await;
        if self.has_successor() {
            tokio::select! {
                () = sleep(KEPT) => {}
                () = self.stopping.cancelled() => {}
            }
        }
    }

    /// The same for a connection on which nobody has asked anything yet `since` it was made.
    pub(crate) async fn closing_time_of_new(&self, since: Instant) {
        self.closing_time().await;
        tokio::select! {
            () = sleep_until(since + ARRIVING) => {}
            () = self.stopping.cancelled() => {}
        }
    }
}
