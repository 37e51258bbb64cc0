//! A stream that keeps to a limit.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{Bucket, Pace};

/// How long a wait lasts at most before it looks whether the limit is still the one that made it wait.
const LOOK: Duration = Duration::from_millis(500);

/// `T`, read and written at a [`Pace`] that it shares with others; or as fast as it goes, which costs nothing.
///
/// While a limit holds it back it doesn't touch `T`, so that its peer feels it, and no one else. Worst-case memory
/// is one turn of reading, 16 KiB, while that waits; at rest none.
///
/// A pace without a limit costs a look at an atomic, and may get one at any time.
pub struct Paced<T> {
    inner: T,
    pace: Option<Arc<Pace>>,
    /// There since a limit was first met.
    pacing: Option<Box<Pacing>>,
}

#[derive(Default)]
struct Pacing {
    /// What was read and paid for, and may be handed out.
    held: Bytes,
    reading: Wait,
    /// How much may be written once `writing` is over.
    writable: usize,
    writing: Wait,
}

/// Until a turn comes. Ready when there is none.
#[derive(Default)]
struct Wait(Option<Turn>);

struct Turn {
    at: Instant,
    /// Of the limit that gave it.
    version: u32,
    sleep: Pin<Box<Sleep>>,
}

impl<T> Paced<T> {
    /// At this pace, or at any.
    pub fn new(inner: T, pace: Option<Arc<Pace>>) -> Self {
        Self { inner, pace, pacing: None }
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
        let version = bucket.version();
        let grant = bucket.grant(wanted);
        self.0 = grant.at.map(|at| {
            let sleep = Box::pin(sleep_until(at.min(Instant::now() + LOOK)));
            Turn { at, version, sleep }
        });
        grant.bytes
    }

    fn poll(&mut self, bucket: &Bucket, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(turn) = &mut self.0 {
            ready!(turn.sleep.as_mut().poll(cx));
            let now = Instant::now();
            if now >= turn.at || bucket.version() != turn.version {
                self.0 = None;
            } else {
                turn.sleep.as_mut().reset(turn.at.min(now + LOOK));
            }
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
        bucket: &Bucket,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.reading.poll(bucket, cx));
        if self.held.is_empty() {
            let most = buf.remaining().min(bucket.turn());
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
            ready!(Pin::new(inner).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            if read > 0 {
                self.reading.begin(bucket, read);
            }
            if self.reading.poll(bucket, cx).is_pending() {
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
        bucket: &Bucket,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Pin::new(inner).poll_write(cx, bytes);
        }
        if self.writable == 0 {
            self.writable = self.writing.begin(bucket, bytes.len());
        }
        ready!(self.writing.poll(bucket, cx));
        let most = bytes.len().min(self.writable);
        let written = ready!(Pin::new(inner).poll_write(cx, &bytes[..most]))?;
        self.writable -= written.min(most);
        Poll::Ready(Ok(written))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { inner, pace, pacing } = self.get_mut();
        match pace {
            // What is held is handed out in any case.
            Some(pace) if pacing.is_some() || pace.read.is_limited() => {
                pacing.get_or_insert_default().poll_read(inner, &pace.read, cx, buf)
            }
            _ => Pin::new(inner).poll_read(cx, buf),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { inner, pace, pacing } = self.get_mut();
        match pace {
            Some(pace) if pacing.is_some() || pace.written.is_limited() => {
                pacing.get_or_insert_default().poll_write(inner, &pace.written, cx, bytes)
            }
            _ => Pin::new(inner).poll_write(cx, bytes),
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
