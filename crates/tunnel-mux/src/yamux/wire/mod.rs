//! What stands between yamux and the socket. It exists because yamux asks the socket for two reads
//! and two writes a frame, and because only the frames themselves tell what its streams do not:
//!
//! ```text
//!            ┌─► outbound ── rewrite headers, add resets and pongs ─► buffer ─┐
//!   yamux ◄──┤               marks: one entry per stream yamux holds          ├──► socket
//!            └── inbound  ◄─ note ends and resets, answer pings ◄──── buffer ◄┘
//! ```
//!
//! Writes gather until the buffer is full, yamux has nothing more to say, or the socket is read:
//! yamux's own flush, after each frame, does nothing. Buffers come from a pool and go back when
//! empty, so an idle lane holds none.

mod header;
mod mark;
mod unread;

mod inbound;
mod outbound;

mod buffer;

#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};

use super::Shared;
use super::turn::Work;
use crate::{Activity, LaneError};
use buffer::Buffer;
use header::{FIN, Header};
use inbound::{Inbound, Next};
pub(super) use mark::Mark;
use mark::Marks;
use outbound::Outbound;

/// A body at least this long is read straight into yamux's memory.
const DIRECT_READ: usize = 32 << 10;

/// The wire as yamux owns it and the driver reaches it. Both are one task: the lock never waits.
pub(super) struct SharedWire<T>(Arc<Mutex<Wire<T>>>);

/// The socket, with what has to be known of the frames on it.
pub(super) struct Wire<T> {
    io: T,
    activity: Activity,
    marks: Marks,
    inbound: Inbound,
    outbound: Outbound,
    received: Buffer,
    to_send: Buffer,
    /// The socket took bytes since it was last flushed.
    unflushed: bool,
    /// yamux was told to wait for room since the driver last asked.
    blocked: bool,
    /// What was done since the driver last asked.
    work: Work,
    /// The latest of the budget's sweeps this lane took part in.
    swept: u64,
    shared: Arc<Shared>,
}

impl<T> SharedWire<T> {
    pub(super) fn new(io: T, activity: Activity, shared: Arc<Shared>) -> Self {
        Self(Arc::new(Mutex::new(Wire {
            io,
            activity,
            marks: Marks::new(Arc::clone(&shared)),
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            received: Buffer::default(),
            to_send: Buffer::default(),
            unflushed: false,
            blocked: false,
            work: Work::default(),
            swept: 0,
            shared,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Wire<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for SharedWire<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// For the driver.
impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// The mark of a stream the peer opened, just after yamux reported it.
    pub(super) fn adopt_inbound(&mut self, id: u32) -> Result<Arc<Mark>, LaneError> {
        let opening = self.inbound.take_opening(id);
        let mark = Mark::announced(opening.is_some_and(|opening| opening.has(FIN)), self.marks.unread());
        mark.unread().came(opening.map_or(0, Header::body_len));
        self.marks.insert(id, mark)
    }

    /// The mark of a stream we open, of which the peer knows nothing yet.
    pub(super) fn adopt_outbound(&mut self, id: u32) -> Result<Arc<Mark>, LaneError> {
        self.marks.insert(id, Mark::new(self.marks.unread()))
    }

    /// Sheds stalled streams, if the budget told all lanes to since the last call.
    pub(super) fn sweep(&mut self) {
        let Some(budget) = self.shared.budget() else { return };
        let sweeps = budget.sweeps();
        if std::mem::replace(&mut self.swept, sweeps) != sweeps {
            // A body that is only partly here would come after what is thrown away.
            for shed in self.marks.sweep(self.inbound.under_way()) {
                self.inbound.reset(shed);
            }
        }
    }

    /// Sends all that is buffered.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.queue_replies();
            if self.to_send.is_empty() {
                break;
            }
            ready!(self.poll_send(cx))?;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads the socket to its end, for nobody.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4 << 10];
        while let Ok(1..) = ready!(Pin::new(&mut self.io).poll_read(cx, &mut scratch)) {}
        Poll::Ready(())
    }

    /// Whether yamux was told to wait for room since the last call.
    pub(super) fn take_blocked(&mut self) -> bool {
        std::mem::take(&mut self.blocked)
    }

    /// What was done since the last call.
    pub(super) fn take_work(&mut self) -> Work {
        std::mem::take(&mut self.work)
    }

    /// Why the lane has to end, if the frames say so.
    pub(super) fn verdict(&self) -> Option<LaneError> {
        if self.inbound.flooded {
            return Some(LaneError::Flooded);
        }
        // yamux goes on after accusing the peer, as if a hostile one would then hang up.
        self.outbound.accusation.clone().map(LaneError::Protocol)
    }

    /// What it means that the peer closed the lane.
    pub(super) fn farewell(&self) -> Result<(), LaneError> {
        if let Some(error) = self.verdict() {
            return Err(error);
        }
        match self.inbound.goaway {
            None | Some(0) => Ok(()),
            Some(code) => Err(LaneError::GoAway(code)),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        if out.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            match self.inbound.next() {
                Next::Serve(header) => {
                    let n = header.len().min(out.len());
                    out[..n].copy_from_slice(&header[..n]);
                    self.inbound.served(n);
                    return Poll::Ready(Ok(n));
                }
                Next::Body(left) if self.received.is_empty() && left.min(out.len()) >= DIRECT_READ => {
                    let n = left.min(out.len());
                    let read = ready!(self.poll_receive(cx, Some(&mut out[..n])))?;
                    if read == 0 {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    self.inbound.passed(read);
                    return Poll::Ready(Ok(read));
                }
                _ if self.received.is_empty() => {
                    if ready!(self.poll_receive(cx, None))? == 0 {
                        let between_frames = self.inbound.is_between_frames();
                        let end =
                            if between_frames { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
                        return Poll::Ready(end);
                    }
                }
                Next::Body(left) => {
                    let n = left.min(out.len());
                    let n = self.received.take(&mut out[..n]);
                    self.inbound.passed(n);
                    return Poll::Ready(Ok(n));
                }
                Next::Skip(left) => {
                    let n = self.received.discard(left);
                    self.inbound.passed(n);
                }
                Next::Header(missing) => {
                    let n = self.received.take(missing);
                    self.inbound.fed(n, &self.marks);
                    self.activity.add_bulk(self.inbound.take_credit());
                    self.queue_replies();
                }
            }
        }
    }

    fn queue_replies(&mut self) {
        self.outbound.queue_replies(&mut self.inbound.replies, &mut self.to_send);
        self.outbound.queue_replies(&mut self.inbound.resets, &mut self.to_send);
    }

    /// Reads the socket once: into `direct`, or into the buffer. 0 is its end.
    fn poll_receive(&mut self, cx: &mut Context<'_>, direct: Option<&mut [u8]>) -> Poll<io::Result<usize>> {
        // So that a long run of reading delays our own bytes by one read at most.
        if !self.to_send.is_empty()
            && let Poll::Ready(Err(error)) = self.poll_send(cx)
        {
            return Poll::Ready(Err(error));
        }
        let io = Pin::new(&mut self.io);
        let read = match direct {
            Some(out) => ready!(io.poll_read(cx, out))?,
            None => ready!(self.received.poll_fill(|space| io.poll_read(cx, space)))?,
        };
        self.activity.add_read(read);
        self.work.bytes += read;
        Poll::Ready(Ok(read))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.outbound.is_between_frames() {
            // yamux hands over a header in one piece, and none is ever taken in part.
            let Ok(header) = bytes.try_into() else {
                return Poll::Ready(Err(io::Error::other("invariant: a frame begins with its whole header")));
            };
            self.outbound.note_accusation(header, self.inbound.latest);
            self.queue_replies();
            ready!(self.poll_room(cx, bytes.len()))?;
            self.activity.add_bulk(Header::decode(header).credit());
            self.outbound.begin(header, &mut self.marks, &mut self.to_send);
            self.work.frames += 1;
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_room(cx, 1))?;
        let taken = self.outbound.body(bytes, &mut self.to_send);
        self.shared.backlog.take(taken);
        Poll::Ready(Ok(taken))
    }

    fn poll_room(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<io::Result<()>> {
        while self.to_send.room() < bytes {
            let sent = self.poll_send(cx);
            self.blocked |= sent.is_pending();
            ready!(sent)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the socket once.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Poll::Ready(sent) = Pin::new(&mut self.io).poll_write(cx, self.to_send.filled()) else {
            self.activity.set_blocked();
            return Poll::Pending;
        };
        let sent = sent?;
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.to_send.discard(sent);
        self.activity.add_written(sent);
        self.work.bytes += sent;
        self.unflushed = true;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for SharedWire<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        self.lock().poll_read(cx, out)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for SharedWire<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, bytes)
    }

    /// yamux flushes after each frame; the driver does it when yamux is done.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.lock();
        ready!(wire.poll_flush(cx))?;
        Pin::new(&mut wire.io).poll_close(cx)
    }
}
