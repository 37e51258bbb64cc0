//! What a lane is to its users, whatever carries it: an [`Opener`] and an [`Incoming`] end for
//! streams, the [`Driver`] that moves the bytes, and the [`Activity`] a watchdog looks at.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncWrite};
use tokio::sync::futures::OwnedNotified;
use tokio::sync::mpsc;
use tokio::time::Instant;

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
    /// What its socket did so far.
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

/// Opens streams on one lane, which has a place for each of [`Config::max_streams`]. Clones share them.
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
    /// [`OpenError::Full`] at once when all places are taken; [`OpenError::Closed`] when the lane
    /// is gone.
    ///
    /// # Cancel safety
    /// Nothing stays open and the place is given back.
    pub async fn open(&self) -> Result<Stream, OpenError> {
        self.try_reserve()?.open().await
    }

    /// Takes a place without waiting, to open a stream on later. Dropping it gives
    /// the place back.
    ///
    /// # Errors
    /// As [`Opener::open`].
    pub fn try_reserve(&self) -> Result<Reservation, OpenError> {
        if self.is_closed() {
            return Err(OpenError::Closed);
        }
        Permit::take(&self.shared).map(Reservation).ok_or(OpenError::Full)
    }

    /// As [`Opener::try_reserve`], but for a stream that takes no place, as others may need it: only while
    /// fewer than `most` streams are alive in all.
    ///
    /// # Errors
    /// As [`Opener::open`].
    pub fn try_reserve_beside(&self, most: usize) -> Result<Reservation, OpenError> {
        if self.is_closed() {
            return Err(OpenError::Closed);
        }
        Permit::take_none(&self.shared, most).map(Reservation).ok_or(OpenError::Full)
    }

    /// Waits for a place, from this call on: make it, then look for a place, and only
    /// then await it; so no place given back in between is missed.
    pub fn vacancy(&self) -> Vacancy {
        let mut notified = Box::pin(Arc::clone(&self.shared.vacated).notified_owned());
        notified.as_mut().enable();
        Vacancy(notified)
    }

    /// Streams alive on this end of the lane, opened by either end, and those being opened: how many places
    /// are taken.
    #[must_use]
    pub fn live(&self) -> usize {
        self.shared.live()
    }

    /// Streams alive, or being opened, that take no place ([`Opener::try_reserve_beside`]).
    #[must_use]
    pub fn beside(&self) -> usize {
        self.shared.beside()
    }

    /// How many places there are: [`Config::max_streams`].
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity()
    }

    /// Whether the lane will never open another stream.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.requests.is_closed()
    }

    /// Ends the lane in good order: no stream is opened any more, what was written is sent, then GoAway with code
    /// 0 and the end of the socket. Both ends' [`Driver`]s resolve with `Ok`; nobody waits here.
    ///
    /// Streams that still live are lost with it, so this is for a lane that carries none. A peer that doesn't read
    /// or doesn't hang up is waited for 5 s.
    pub fn close(&self) {
        self.shared.requests.end();
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

/// A place on a lane, or leave for a stream that takes none. Made by [`Opener::try_reserve`] and
/// [`Opener::try_reserve_beside`]; dropping it gives it back.
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
    /// Nothing stays open and the place is given back.
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

/// What a lane's socket has done: a lane that reads nothing while it should be answering is dead, whatever its
/// socket says, and one that moves bulk is no place for a small request. Clones share the counters; none takes a
/// lock.
#[derive(Debug, Clone)]
pub struct Activity(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    began: Instant,
    read: AtomicU64,
    written: AtomicU64,
    bulk: AtomicU64,
    /// When bytes were last read, in microseconds since `began`.
    read_at: AtomicU64,
    /// Since when the socket has refused bytes, likewise; [`FLOWING`] while it takes them.
    blocked_at: AtomicU64,
}

/// No lane lives that many microseconds.
const FLOWING: u64 = u64::MAX;

impl Activity {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Counters {
            began: Instant::now(),
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            bulk: AtomicU64::new(0),
            read_at: AtomicU64::new(0),
            blocked_at: AtomicU64::new(FLOWING),
        }))
    }

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

    /// When bytes were last read, or the lane began; to the microsecond.
    #[must_use]
    pub fn last_read(&self) -> Instant {
        self.0.began + Duration::from_micros(self.0.read_at.load(Ordering::Relaxed))
    }

    /// Bytes that single streams moved beyond their first 128 KiB or more, either way: the credit that either end
    /// has renewed. Small exchanges never count, however many there are.
    #[must_use]
    pub fn bulk_bytes(&self) -> u64 {
        self.0.bulk.load(Ordering::Relaxed)
    }

    /// For how long the socket has taken nothing while bytes wait for it; zero while it does.
    #[must_use]
    pub fn blocked_for(&self) -> Duration {
        match self.0.blocked_at.load(Ordering::Relaxed) {
            FLOWING => Duration::ZERO,
            since => self.0.began.elapsed().saturating_sub(Duration::from_micros(since)),
        }
    }

    pub(crate) fn add_read(&self, bytes: usize) {
        self.0.read.fetch_add(bytes as u64, Ordering::Relaxed);
        self.0.read_at.store(self.now(), Ordering::Relaxed);
    }

    pub(crate) fn add_written(&self, bytes: usize) {
        self.0.written.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.0.blocked_at.load(Ordering::Relaxed) != FLOWING {
            self.0.blocked_at.store(FLOWING, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_bulk(&self, credit: u32) {
        self.0.bulk.fetch_add(credit.into(), Ordering::Relaxed);
    }

    /// The socket refused bytes.
    pub(crate) fn set_blocked(&self) {
        if self.0.blocked_at.load(Ordering::Relaxed) == FLOWING {
            self.0.blocked_at.store(self.now(), Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(FLOWING - 1)
    }
}
