//! Moves bytes both ways between two streams until both have finished, or one has failed.
//!
//! One task, two unsplit streams, no locks, and no buffer while nothing moves (see the crate
//! documentation for the picture). What the relay promises, in the order it matters:
//!
//! - **Nothing lost, nothing reordered.** Bytes leave a direction only when the writer took them.
//! - **Half-close.** A side that has finished sending may go on listening for as long as it likes.
//! - **Last words are heard.** A side that takes nothing more may have said why, as a web server does
//!   that refuses an upload: it is read to its end before its failure is reported.
//! - **An end is clean or it is not.** `Ok` means that both sides said EOF and both took it. All
//!   else is an error, and the caller must pass it on as a reset, never as an orderly close.
//! - **One relay never hogs a worker.** A poll makes a bounded number of calls, then lets others run.

mod direction;

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{error, fmt, io};

use tokio::io::{AsyncRead, AsyncWrite};

use self::direction::Direction;
use crate::{Meter, scratch};

/// Moves bytes both ways between `a` and `b` until both directions have ended or either side fails.
///
/// EOF from one side shuts the other down for writing, and the opposite direction goes on. Writers
/// are flushed whenever there is nothing more to read for them at the moment. The streams stay the
/// caller's, to reset or drop afterwards.
///
/// A side to which a write failed is still read, to its end; what it would have had to take until then
/// is dropped. Sockets that are broken are at their end at once.
///
/// There is no deadline inside: a side that stays half-open and silent keeps the relay alive until
/// the caller drops it.
///
/// # Errors
///
/// In [`Relayed::end`], since the totals count whatever the end was. The side that did *not* fail
/// has not been closed: the caller should reset it (`SO_LINGER` 0, or the mux's reset), so that its
/// peer can tell a cut transfer from a whole one.
///
/// # Cancel safety
///
/// Dropping the future is safe for memory and tasks but cuts the transfer: bytes that were read
/// and not yet taken by the writer are lost. Reset both sides after that. What was moved until
/// then can be read from the [`Meter`].
pub fn relay<'a, A, B>(a: &'a mut A, b: &'a mut B, options: RelayOptions<'a>) -> Relay<'a, A, B>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let chunk = options.chunk.clamp(1, RelayOptions::MAX_CHUNK);
    let (a_to_b, b_to_a) = (Direction::from(Side::A), Direction::from(Side::B));
    Relay { a, b, a_to_b, b_to_a, deaf: None, chunk, meter: options.meter }
}

/// Knobs of a [`relay`]. The default is right unless memory is scarcer than time.
#[derive(Clone, Copy, Debug)]
pub struct RelayOptions<'a> {
    /// Counts bytes as they move. Default: none.
    pub meter: Option<&'a Meter>,
    /// Bytes taken by one read. Default and upper bound: [`MAX_CHUNK`](Self::MAX_CHUNK); lower
    /// bound 1; values outside are clamped.
    ///
    /// Worst-case memory of a relay is twice this, when both sides refuse to take what they are
    /// sent; of a relay at rest, none.
    pub chunk: usize,
}

impl RelayOptions<'_> {
    /// 64 KiB, the size of a worker thread's scratch buffer.
    pub const MAX_CHUNK: usize = scratch::SIZE;
}

impl Default for RelayOptions<'_> {
    fn default() -> Self {
        Self { meter: None, chunk: Self::MAX_CHUNK }
    }
}

/// How a [`relay`] ended, and what it moved before that.
#[derive(Debug)]
#[must_use = "a failed relay has a side that still waits to be reset"]
pub struct Relayed {
    /// Bytes read from A and taken by B.
    pub a_to_b: u64,
    /// Bytes read from B and taken by A.
    pub b_to_a: u64,
    /// `Ok` if both sides finished sending and were told of each other's end.
    pub end: Result<(), RelayError>,
}

/// Which side failed, and at what.
#[derive(Debug)]
#[non_exhaustive]
pub struct RelayError {
    /// The side that failed. The other one is still open and waits to be reset.
    pub side: Side,
    /// What failed there.
    pub operation: Operation,
    /// How.
    pub source: io::Error,
}

/// One of the two streams of a [`relay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The first argument of [`relay`].
    A,
    /// The second argument of [`relay`].
    B,
}

impl Side {
    /// The opposite side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What a side was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// To give bytes.
    Read,
    /// To take bytes, flush them, or be told that no more will come.
    Write,
}

/// The future that [`relay`] returns.
#[must_use = "futures do nothing unless polled"]
pub struct Relay<'a, A: ?Sized, B: ?Sized> {
    a: &'a mut A,
    b: &'a mut B,
    a_to_b: Direction,
    b_to_a: Direction,
    /// How the side failed that takes nothing any more, while it is read to its end.
    deaf: Option<RelayError>,
    chunk: usize,
    meter: Option<&'a Meter>,
}

impl<A, B> Future for Relay<'_, A, B>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    type Output = Relayed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Relayed> {
        let this = self.get_mut();
        let chunk = this.chunk;
        let end = scratch::with(|scratch| this.poll_end(cx, &mut scratch[..chunk]));
        let end = ready!(end);
        Poll::Ready(Relayed { a_to_b: this.a_to_b.moved(), b_to_a: this.b_to_a.moved(), end })
    }
}

impl<A, B> Relay<'_, A, B>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    fn poll_end(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Result<(), RelayError>> {
        if self.deaf.is_none() {
            match self.poll_both(cx, scratch) {
                Poll::Ready(Err(error)) if error.operation == Operation::Write => {
                    let (to, from) = match error.side {
                        Side::A => (&mut self.b_to_a, &mut self.a_to_b),
                        Side::B => (&mut self.a_to_b, &mut self.b_to_a),
                    };
                    to.set_to_nobody();
                    from.set_last_words();
                    self.deaf = Some(error);
                }
                end => return end,
            }
        }
        let Some(side) = self.deaf.as_ref().map(|error| error.side) else { return Poll::Pending };
        let said = self.poll_from(side, cx, scratch);
        let is_over =
            said.is_ready() || matches!(self.poll_from(side.other(), cx, scratch), Poll::Ready(Err(_)));
        // Whatever else failed: this was the first.
        if is_over { Poll::Ready(self.deaf.take().map_or(Ok(()), Err)) } else { Poll::Pending }
    }

    fn poll_both(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Result<(), RelayError>> {
        let forth = self.poll_from(Side::A, cx, scratch)?;
        let back = self.poll_from(Side::B, cx, scratch)?;
        if forth.is_ready() && back.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_from(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<(), RelayError>> {
        let Self { a, b, meter, .. } = self;
        let meter = *meter;
        match side {
            Side::A => {
                let count = |n| meter.into_iter().for_each(|meter| meter.add_a_to_b(n));
                self.a_to_b.poll(cx, *a, *b, scratch, count)
            }
            Side::B => {
                let count = |n| meter.into_iter().for_each(|meter| meter.add_b_to_a(n));
                self.b_to_a.poll(cx, *b, *a, scratch, count)
            }
        }
    }
}

impl<A: ?Sized, B: ?Sized> fmt::Debug for Relay<'_, A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { a_to_b, b_to_a, .. } = self;
        f.debug_struct("Relay").field("a_to_b", a_to_b).field("b_to_a", b_to_a).finish_non_exhaustive()
    }
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = match self.operation {
            Operation::Read => "reading from",
            Operation::Write => "writing to",
        };
        write!(f, "{operation} side {:?} failed", self.side)
    }
}

impl error::Error for RelayError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests;
