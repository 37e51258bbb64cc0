//! A stream that says how it ended. yamux reads an end, a reset and a dead connection all as
//! "no more bytes"; the wire saw which it was and left it in the stream's [`Mark`].

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead as _, AsyncWrite as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;

use super::wire::Mark;
use super::{Permit, Shared};
use crate::error::{lane_lost, reset_by_peer, shed};

/// One stream of a lane: ordered bytes both ways, each way ended on its own.
///
/// | what happened                        | reading                       | writing                  |
/// |--------------------------------------|-------------------------------|--------------------------|
/// | the peer shut down its side          | all its bytes, then the end   | goes on                  |
/// | the peer reset the stream            | what came, `ConnectionReset`  | `ConnectionReset`        |
/// | the peer shut down, then reset       | all its bytes, then the end   | `ConnectionReset`        |
/// | the lane is gone                     | what came, `ConnectionAborted`| `ConnectionAborted`      |
/// | we shut down                         | goes on                       | `BrokenPipe`             |
/// | nobody read, so we shed it           | `ConnectionReset`             | `ConnectionReset`        |
///
/// [`is_lane_lost`](crate::is_lane_lost) names the fourth row, [`is_shed`](crate::is_shed) the last:
/// see [`Budget`](crate::Budget). Bytes written before may then be lost, too, even before a
/// shutdown. A stream never reads as ended unless the peer shut it down.
///
/// Dropping the stream (or [`Stream::reset`]) gives up both ways. Bytes already taken by a write
/// are still sent; then the peer gets a reset, unless both sides had shut down. A shut-down side is
/// complete for the peer whatever follows: write all, shut down, drop, and nothing is lost.
///
/// A shutdown waits like a write does while the peer's window is full, since the end takes its
/// turn behind the bytes. A flush is a no-op, as the lane never holds bytes back: it says nothing
/// about delivery. Reading and writing may happen on two tasks at once, and take part in tokio's
/// cooperative scheduling as its own sockets do.
pub struct Stream {
    id: u32,
    mark: Arc<Mark>,
    shut_down: bool,
    permit: Permit,
}

impl Stream {
    pub(super) fn new(inner: ::yamux::Stream, mark: Arc<Mark>, permit: Permit) -> Self {
        let id = inner.id().val();
        mark.hold(inner);
        Self { id, mark, shut_down: false, permit }
    }

    /// The stream's number on its lane, the same at both ends: odd if the lane's client opened it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Aborts the stream: the same as dropping it, said aloud.
    pub fn reset(self) {}

    /// Why nothing more can be read or written, given that the peer did not just end its side.
    fn cut(&self) -> io::Error {
        if self.mark.is_shed() {
            shed()
        } else if self.mark.peer_reset() {
            reset_by_peer()
        } else {
            lane_lost()
        }
    }

    /// Whether one of the two ends has reset the stream.
    fn is_reset(&self) -> bool {
        self.mark.peer_reset() || self.mark.is_shed()
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
        let coop = ready!(poll_proceed(cx));
        let read = this.mark.with(|inner, unread| {
            let read = inner.poll_read(cx, buf.initialize_unfilled());
            if let Poll::Ready(Ok(read)) = read {
                unread.was_read(read);
            }
            read
        });
        let read = match read {
            Some(Poll::Pending) if !this.mark.is_shed() => return Poll::Pending,
            // yamux fails a read only when its connection is gone.
            Some(Poll::Ready(read)) => read.unwrap_or(0),
            Some(Poll::Pending) | None => 0,
        };
        coop.made_progress();
        match read {
            0 if this.mark.peer_finished() && !this.mark.is_shed() => Poll::Ready(Ok(())),
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
        let coop = ready!(poll_proceed(cx));
        let written = ready!(this.poll_frame(cx, buf));
        coop.made_progress();
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut_down && (self.is_reset() || self.lane().is_lost()) {
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
        if self.is_reset() || self.lane().is_lost() {
            return Poll::Ready(Err(self.cut()));
        }
        let body = self.lane().backlog.piece(body);
        match self.mark.with(|inner, _| inner.poll_write(cx, body)) {
            Some(Poll::Ready(Ok(written))) => {
                self.lane().backlog.add(written);
                Poll::Ready(Ok(written))
            }
            Some(Poll::Ready(Err(_))) | None => Poll::Ready(Err(self.cut())),
            Some(Poll::Pending) => {
                self.mark.writer.register(cx.waker());
                // The reset may have come, and woken nobody, before our waker was kept.
                if self.is_reset() { Poll::Ready(Err(self.cut())) } else { Poll::Pending }
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Before the permit goes: it may only return once yamux was told.
        self.mark.let_go();
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.id()).field("mark", &self.mark).finish_non_exhaustive()
    }
}
