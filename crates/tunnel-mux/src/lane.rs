//! What a lane is to its users, whatever carries it: an [`Opener`] and an [`Incoming`] end for
//! streams, the [`Driver`] that moves the bytes, and the [`Activity`] a watchdog looks at.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};
use tokio::sync::futures::OwnedNotified;
use tokio::sync::mpsc;

use crate::yamux::{self, Permit, Shared, Stream, Withdraw};
use crate::{Config, LaneError, OpenError};

/// Both ends of stream traffic over one socket, and what drives it.
#[derive(Debug)]
pub struct Lane {
    /// Opens streams towards the peer.
    pub opener: Opener,
    /// Hands out the streams the peer opens.
    pub incoming: Incoming,
    /// Must be polled for anything to move.
    pub driver: Driver,
    /// Bytes moved so far.
    pub activity: Activity,
}

/// Makes a lane of `io`, as the end that connected. The other end must be a [`server`].
///
/// `config` is taken within its bounds; see [`Config::validate`].
pub fn client<T>(io: T, config: &Config) -> Lane
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    yamux::lane(io, config, yamux::Mode::Client)
}

/// Makes a lane of `io`, as the end that was connected to. The other end must be a [`client`].
///
/// `config` is taken within its bounds; see [`Config::validate`].
pub fn server<T>(io: T, config: &Config) -> Lane
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    yamux::lane(io, config, yamux::Mode::Server)
}

/// Opens streams on one lane. Clones share its budget.
#[derive(Debug, Clone)]
pub struct Opener {
    pub(crate) shared: Arc<Shared>,
}

impl Opener {
    /// Opens a stream. The peer hears of it with the first bytes written (or a shutdown).
    ///
    /// Waits only for the driver, and while 256 of our streams are unanswered by the peer.
    ///
    /// # Errors
    /// [`OpenError::Full`] at once when the budget is used up; [`OpenError::Closed`] when the lane
    /// is gone.
    ///
    /// # Cancel safety
    /// Nothing stays open and the place in the budget is given back.
    pub async fn open(&self) -> Result<Stream, OpenError> {
        self.try_reserve()?.open().await
    }

    /// Takes a place in the budget without waiting, to open a stream on later. Dropping it gives
    /// the place back.
    ///
    /// # Errors
    /// As [`Opener::open`].
    pub fn try_reserve(&self) -> Result<Reservation, OpenError> {
        if self.is_closed() {
            return Err(OpenError::Closed);
        }
        Permit::within_budget(&self.shared).map(Reservation).ok_or(OpenError::Full)
    }

    /// Waits for a place in the budget, from this call on: make it, then look for a place, and only
    /// then await it; so no place given back in between is missed.
    pub fn vacancy(&self) -> Vacancy {
        let mut notified = Box::pin(Arc::clone(&self.shared.vacated).notified_owned());
        notified.as_mut().enable();
        Vacancy(notified)
    }

    /// Streams alive on this end of the lane, opened by either end, and those being opened.
    #[must_use]
    pub fn live(&self) -> usize {
        self.shared.live()
    }

    /// The budget [`Opener::live`] is held against: [`Config::max_streams`].
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity()
    }

    /// Whether the lane will never open another stream.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.requests.is_closed()
    }
}

/// Resolves when the lane may have a free place, or is gone. Made by [`Opener::vacancy`].
///
/// Each place given back resolves one vacancy, in the order they were made. Whoever is woken must
/// look for a place, and not go away without: somebody else may be faster, so look again, and make
/// a new vacancy before.
///
/// # Cancel safety
/// Dropped before it resolved, it leaves its turn to the next.
#[must_use = "a vacancy does nothing unless awaited"]
#[derive(Debug)]
pub struct Vacancy(Pin<Box<OwnedNotified>>);

impl Future for Vacancy {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

/// A place in a lane's budget, made by [`Opener::try_reserve`].
#[derive(Debug)]
pub struct Reservation(Permit);

impl Reservation {
    /// Opens the stream the place was reserved for.
    ///
    /// # Errors
    /// [`OpenError::Closed`] when the lane is gone; [`OpenError::Full`] when it still has too many
    /// dropped streams to tell the peer about, as happens on a blocked socket.
    ///
    /// # Cancel safety
    /// Nothing stays open and the place in the budget is given back.
    pub async fn open(self) -> Result<Stream, OpenError> {
        let shared = Arc::clone(self.0.shared());
        let (ticket, answer) = shared.requests.push(self.0).ok_or(OpenError::Closed)?;
        // A cancelled open drops what it awaits before its locals, so by the time it withdraws the
        // driver already sees that nobody listens.
        let withdraw = Withdraw::new(&shared.requests, ticket);
        let answer = answer.await.unwrap_or(Err(OpenError::Closed));
        withdraw.disarm();
        answer
    }
}

/// The streams the peer opens, in the order they came.
#[derive(Debug)]
pub struct Incoming {
    pub(crate) accepted: mpsc::Receiver<Stream>,
}

impl Incoming {
    /// The next stream the peer opened; `None` once the lane is gone. Dropping `Incoming` makes
    /// the lane reset every stream the peer opens.
    ///
    /// # Cancel safety
    /// Loses nothing.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.accepted.recv().await
    }
}

/// Moves a lane's bytes; nothing else touches the socket. Spawn it on an owner, such as a `JoinSet`.
///
/// Resolves with `Ok` when the peer closed the lane between two frames. It never ends by itself
/// while the socket lives, even with every other handle dropped.
///
/// # Cancel safety
/// Dropping it closes the socket at once; every stream and open of the lane then fails promptly,
/// as [`is_lane_lost`](crate::is_lane_lost) and [`OpenError::Closed`] tell.
#[must_use = "a lane moves nothing unless its driver is polled"]
pub struct Driver(pub(crate) Pin<Box<dyn Future<Output = Result<(), LaneError>> + Send>>);

impl Future for Driver {
    type Output = Result<(), LaneError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// Bytes a lane's socket has moved: a lane whose numbers stand still while it should be answering
/// is dead, whatever its socket says. Clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    read: AtomicU64,
    written: AtomicU64,
}

impl Activity {
    /// Bytes read from the socket since the lane began.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.0.read.load(Ordering::Relaxed)
    }

    /// Bytes the socket has taken since the lane began.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    pub(crate) fn add_read(&self, bytes: usize) {
        self.0.read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_written(&self, bytes: usize) {
        self.0.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
