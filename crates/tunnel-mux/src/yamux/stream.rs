//! A stream that says how it ended. yamux reads an end, a reset and a dead connection all as
//! "no more bytes"; the wire saw which it was and left it in the stream's [`Mark`].

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead as _, AsyncWrite as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wire::Mark;
use super::{Permit, Shared};
use crate::error::{lane_lost, reset_by_peer};

/// One stream of a lane: ordered bytes both ways, each way ended on its own.
///
/// | what happened                        | reading                       | writing                  |
/// |--------------------------------------|-------------------------------|--------------------------|
/// | the peer shut down its side          | all its bytes, then the end   | goes on                  |
/// | the peer reset the stream            | what came, `ConnectionReset`  | `ConnectionReset`        |
/// | the peer shut down, then reset       | all its bytes, then the end   | `ConnectionReset`        |
/// | the lane is gone                     | what came, `ConnectionAborted`| `ConnectionAborted`      |
/// | we shut down                         | goes on                       | `BrokenPipe`             |
///
/// [`is_lane_lost`](crate::is_lane_lost) names the fourth row. A stream never reads as ended unless
/// the peer shut it down.
///
/// Dropping the stream (or [`Stream::reset`]) gives up both ways. Bytes already taken by a write
/// are still sent; then the peer gets a reset, unless both sides had shut down. A shut-down side is
/// complete for the peer whatever follows: write all, shut down, drop, and nothing is lost.
///
/// A shutdown waits like a write does while the peer's window is full, since the end takes its
/// turn behind the bytes. A flush is a no-op, as the lane never holds bytes back: it says nothing
/// about delivery. Reading and writing may happen on two tasks at once.
pub struct Stream {
    // Dropped first, as the permit may only return once yamux was told.
    inner: ::yamux::Stream,
    mark: Arc<Mark>,
    shut_down: bool,
    permit: Permit,
}

impl Stream {
    pub(super) fn new(inner: ::yamux::Stream, mark: Arc<Mark>, permit: Permit) -> Self {
        Self { inner, mark, shut_down: false, permit }
    }

    /// The stream's number on its lane, the same at both ends: odd if the lane's client opened it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.inner.id().val()
    }

    /// Aborts the stream: the same as dropping it, said aloud.
    pub fn reset(self) {}

    /// Why nothing more can be read or written, given that the peer did not just end its side.
    fn cut(&self) -> io::Error {
        if self.mark.peer_reset() { reset_by_peer() } else { lane_lost() }
    }

    fn lane(&self) -> &Shared {
        self.permit.shared()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        // yamux fails a read only when its connection is gone.
        let read = ready!(Pin::new(&mut this.inner).poll_read(cx, buf.initialize_unfilled()));
        match read.unwrap_or(0) {
            0 if this.mark.peer_finished() => Poll::Ready(Ok(())),
            0 => Poll::Ready(Err(this.cut())),
            read => {
                buf.advance(read);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.shut_down {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // An empty frame is how a shutdown is spelled towards the wire.
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        this.poll_frame(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut_down && (self.mark.peer_reset() || self.lane().is_lost()) {
            return Poll::Ready(Err(self.cut()));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A peer that sent all of its side and then reset wants nothing more of ours.
        if this.shut_down || (this.mark.peer_finished() && this.mark.peer_reset()) {
            return Poll::Ready(Ok(()));
        }
        // Not yamux's own close: a stream closed that way vanishes without a trace on the wire,
        // and whether yamux still counts it would be anybody's guess.
        ready!(this.poll_frame(cx, &[]))?;
        this.shut_down = true;
        Poll::Ready(Ok(()))
    }
}

impl Stream {
    fn poll_frame(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>> {
        if self.mark.peer_reset() || self.lane().is_lost() {
            return Poll::Ready(Err(self.cut()));
        }
        match Pin::new(&mut self.inner).poll_write(cx, body) {
            Poll::Ready(Ok(written)) => Poll::Ready(Ok(written)),
            Poll::Ready(Err(_)) => Poll::Ready(Err(self.cut())),
            // The reset may have come, and woken nobody, before yamux kept our waker.
            Poll::Pending if self.mark.peer_reset() => Poll::Ready(Err(self.cut())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.id()).field("mark", &self.mark).finish_non_exhaustive()
    }
}
