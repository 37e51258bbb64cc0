//! A stream whose first bytes travel twice, each way, and count as soon as they have come once.
//!
//! On a long path that loses packets whatever is lost comes two round trips late, and all behind it. A second stream
//! on another connection, the **twin**, makes that a matter of two losses at the same time.
//!
//! ```text
//!   primary   ─── all bytes, and the end ───────────────►   what the peer reads is whatever of
//!   twin      ─── a copy of the first `limit` ──►           the two is ahead; the rest is skipped
//! ```
//!
//! The primary carries everything, so nothing depends on the twin: one that breaks, stalls or never comes changes
//! nothing, and one that can't help any more is dropped. Then the stream is as if there had never been one.
//!
//! - **The primary's break is the stream's break.** What the twin carried before counts, and no more.
//! - **An end is clean or it is not.** The twin says that a direction ended only if fewer than `limit` bytes were
//!   before the end. An end of either is believed only if all before it has been read.
//! - **The first to come serves.** The end that is connected to may get the twin first. It reads and writes that, and
//!   keeps what it says, `limit` bytes at most, for the primary. Only the end of what it reads waits for the primary:
//!   who has read that may never look again, and what is kept would stay here.

mod leg;
mod pair;
mod wakers;

#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::pair::Pair;

/// A stream that comes later, or never. Its deadline is its maker's.
pub type Coming<S> = Pin<Box<dyn Future<Output = Option<S>> + Send + Sync>>;

/// `S`, perhaps with a twin.
///
/// Without one, or once that is over, it is `S` and costs nothing. With one it holds at most `limit` bytes, those that
/// one of the two hasn't taken yet. It moves only when polled, whichever way.
///
/// Reading and writing may be done by two tasks, as [`tokio::io::split`] has it.
///
/// | what happened                                | here                                                    |
/// |----------------------------------------------|---------------------------------------------------------|
/// | the twin breaks, lies, or never comes        | nothing                                                 |
/// | the primary breaks                           | its error                                               |
/// | the primary never comes                      | `ConnectionReset`                                       |
/// | the twin is reset before the primary came    | `ConnectionReset`, unless all of its part had been read |
/// | the twin is lost with its connection then    | it goes on when the primary comes                       |
///
/// A shutdown is over when the primary has taken the end, for which it must have come; or if that breaks, when the twin
/// had taken all and the end before: a peer that has read both resets what it needs no more.
pub struct Twinned<S>(Inner<S>);

enum Inner<S> {
    One(S),
    // Boxed, as most streams have none, and those that had one lose it soon.
    Two(Box<Pair<S>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Twinned<S> {
    /// A primary whose twin may come. Of each direction the twin carries the first `limit` bytes, and our own `said`
    /// first ones are on each of the two already.
    pub fn of_primary(primary: S, twin: Coming<S>, limit: usize, said: usize) -> Self {
        Self(Inner::Two(Box::new(Pair::of_primary(primary, twin, limit, said))))
    }

    /// A twin that came before its primary; else as [`Twinned::of_primary`].
    pub fn of_twin(twin: S, primary: Coming<S>, limit: usize, said: usize) -> Self {
        Self(Inner::Two(Box::new(Pair::of_twin(twin, primary, limit, said))))
    }

    /// Drops the twin when `over` resolves, as soon as the peer is known to have the primary: a stream that says little
    /// would have it for ever.
    #[must_use]
    pub fn until(mut self, over: impl Future<Output = ()> + Send + Sync + 'static) -> Self {
        if let Inner::Two(pair) = &mut self.0 {
            pair.set_until(Box::pin(over));
        }
        self
    }

    /// Whether there is a twin, or may be one.
    #[must_use]
    pub fn is_twinned(&self) -> bool {
        matches!(self.0, Inner::Two(_))
    }

    /// Becomes the plain stream when the twin is over.
    fn settle(&mut self) {
        if let Inner::Two(pair) = &mut self.0
            && let Some(primary) = pair.take_plain()
        {
            self.0 = Inner::One(primary);
        }
    }
}

impl<S> From<S> for Twinned<S> {
    /// A stream without a twin.
    fn from(stream: S) -> Self {
        Self(Inner::One(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Twinned<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.settle();
        match &mut self.0 {
            Inner::One(stream) => Pin::new(stream).poll_read(cx, buf),
            Inner::Two(pair) => {
                let read = pair.poll_read(cx, buf);
                if read.is_pending() {
                    // It may be at rest for days from here on. Whoever waits is woken, and waits for what is left.
                    self.settle();
                }
                read
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Twinned<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.settle();
        match &mut self.0 {
            Inner::One(stream) => Pin::new(stream).poll_write(cx, buf),
            Inner::Two(pair) => pair.poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::One(stream) => Pin::new(stream).poll_flush(cx),
            Inner::Two(pair) => pair.poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::One(stream) => Pin::new(stream).poll_shutdown(cx),
            Inner::Two(pair) => pair.poll_shutdown(cx),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Twinned<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::One(stream) => stream.fmt(f),
            Inner::Two(pair) => pair.fmt(f),
        }
    }
}
