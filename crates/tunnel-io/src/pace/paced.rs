//! A stream that keeps to a limit.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep_until},
};

use super::{Bucket, Pace};

/// `T`, read and written at a [`Pace`] that it shares with others; or as fast as it goes, which costs nothing.
///
/// While a limit holds it back it doesn't touch `T`, so that its peer feels it, and no one else. Worst-case memory
/// is one turn of reading, 16 KiB, while that waits; at rest none.
pub struct Paced<T> {
    inner: T,
    pacing: Option<Box<Pacing>>,
}

struct Pacing {
    pace: Arc<Pace>,
    /// What was read and paid for, and may be handed out.
    held: Bytes,
    reading: Wait,
    /// How much may be written once `writing` is over.
    writable: usize,
    writing: Wait,
}

/// Until a turn comes. Ready when there is none.
#[derive(Default)]
struct Wait(Option<Pin<Box<Sleep>>>);

impl<T> Paced<T> {
    /// At this pace, or at any.
    pub fn new(inner: T, pace: Option<Arc<Pace>>) -> Self {
        let pacing = pace.map(|pace| {
            let (reading, writing) = (Wait::default(), Wait::default());
            Box::new(Pacing { pace, held: Bytes::new(), reading, writable: 0, writing })
        });
        Self { inner, pacing }
    }

    /// The stream itself, for bytes that aren't counted. Reading from it is right only before the first that are.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// The stream itself. What was read and waits for its turn is lost.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl Wait {
    fn begin(&mut self, bucket: &Bucket, wanted: usize) -> usize {
        let grant = bucket.grant(wanted);
        self.0 = grant.at.map(|at| Box::pin(sleep_until(at)));
        grant.bytes
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = &mut self.0 {
            ready!(sleep.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

impl Pacing {
    /// Reads a turn's worth, and holds it until it is its turn: nobody knows before how much there is to pay for,
    /// and it can't be put back.
    fn poll_read<T: AsyncRead + Unpin>(
        &mut self,
        inner: &mut T,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.reading.poll(cx));
        if self.held.is_empty() {
            let bucket = &self.pace.read;
            let most = buf.remaining().min(bucket.turn());
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
            ready!(Pin::new(inner).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            if read > 0 {
                self.reading.begin(bucket, read);
            }
            if self.reading.poll(cx).is_pending() {
                self.held = Bytes::copy_from_slice(part.filled());
                return Poll::Pending;
            }
            buf.advance(read);
            return Poll::Ready(Ok(()));
        }
        let length = self.held.len().min(buf.remaining());
        buf.put_slice(&self.held[..length]);
        self.held.advance(length);
        if self.held.is_empty() {
            // An empty view still keeps the whole allocation alive.
            self.held = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write<T: AsyncWrite + Unpin>(
        &mut self,
        inner: &mut T,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Pin::new(inner).poll_write(cx, bytes);
        }
        if self.writable == 0 {
            self.writable = self.writing.begin(&self.pace.written, bytes.len());
        }
        ready!(self.writing.poll(cx));
        let most = bytes.len().min(self.writable);
        let written = ready!(Pin::new(inner).poll_write(cx, &bytes[..most]))?;
        self.writable -= written.min(most);
        Poll::Ready(Ok(written))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { inner, pacing } = self.get_mut();
        match pacing {
            Some(pacing) => pacing.poll_read(inner, cx, buf),
            None => Pin::new(inner).poll_read(cx, buf),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { inner, pacing } = self.get_mut();
        match pacing {
            Some(pacing) => pacing.poll_write(inner, cx, bytes),
            None => Pin::new(inner).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

/// Shows how much, never what.
impl<T: fmt::Debug> fmt::Debug for Paced<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Paced");
        debug.field("inner", &self.inner);
        if let Some(pacing) = &self.pacing {
            debug.field("held", &pacing.held.len());
        }
        debug.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
