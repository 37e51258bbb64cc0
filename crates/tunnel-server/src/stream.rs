//! A stream to a client's upstream, with the client's answers taken off its front.
//!
//! Whoever holds one writes the visitor's bytes at once, right behind the stream's header; that saves a new visitor
//! a round trip. What the client answers (`Accepted`, then `Ready` or `Refused`) is read in passing, before the
//! first byte of the upstream: a refusal turns up as the error of the first read.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};
use tunnel_io::{Pace, Paced, Twinned};
use tunnel_protocol::{Code, StreamReply};

use crate::target::{Serving, Target};

/// One visitor's way to the upstream.
#[derive(Debug)]
pub(crate) struct VisitorStream {
    /// At the pace of its tunnel, within that of its tunnel's owner.
    inner: Paced<Paced<Twinned<tunnel_mux::Stream>>>,
    lane: u32,
    /// `None` once the upstream is ready.
    reply: Option<Box<Awaiting>>,
    /// Whose it is, and whose bytes it counts, if it does.
    target: Arc<Target>,
    is_counted: bool,
    /// How much was written to it, and how much of that was counted on another stream already.
    sent: Sent,
    counted_before: u64,
    /// When the upstream's first byte was there.
    first_byte: Option<Instant>,
    /// The visitor's place at the client, if the stream is what holds it.
    _serving: Option<Serving>,
}

#[derive(Debug)]
struct Awaiting {
    /// A reply is at most 3 bytes.
    bytes: [u8; 3],
    filled: usize,
    accepted: bool,
    deadline: Pin<Box<Sleep>>,
}

/// How many bytes were written to a stream, for whoever can't see the stream itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent(Arc<AtomicU64>);

/// The client refused the stream: the io error's inner error.
#[derive(Debug, thiserror::Error)]
#[error("the client refused the visitor: {0}")]
pub(crate) struct StreamRefused(pub(crate) Code);

/// The client said neither that its upstream is there nor that it isn't, in all the time it has: the io error's inner
/// error.
#[derive(Debug, thiserror::Error)]
#[error("the client did not say in time whether the upstream is there")]
pub(crate) struct StreamLate;

/// The owner of the tunnel may move no more bytes this month: the io error's inner error.
#[derive(Debug, thiserror::Error)]
#[error("the owner's bytes of this month are used up")]
pub(crate) struct Spent;

impl Sent {
    /// How many so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts more; how many there are then. Only the stream does, so it needs no more than this.
    fn add(&self, more: usize) -> u64 {
        let all = self.bytes() + more as u64;
        self.0.store(all, Ordering::Relaxed);
        all
    }
}

impl VisitorStream {
    /// A stream whose header was just written, whose bytes from here on keep to `pace`. The client has `patience` to
    /// become ready. What passes is counted for `target`'s tunnel if `is_counted`.
    pub(crate) fn new(
        inner: Twinned<tunnel_mux::Stream>,
        lane: u32,
        target: Arc<Target>,
        is_counted: bool,
        pace: Option<Arc<Pace>>,
        patience: Duration,
    ) -> Self {
        let deadline = Box::pin(tokio::time::sleep(patience));
        let of_owner = is_counted.then(|| target.tally.account().allowance().pace().clone());
        Self {
            inner: Paced::new(Paced::new(inner, of_owner), pace),
            lane,
            reply: Some(Box::new(Awaiting { bytes: [0; 3], filled: 0, accepted: false, deadline })),
            target,
            is_counted,
            sent: Sent::default(),
            counted_before: 0,
            first_byte: None,
            _serving: None,
        }
    }

    /// Counts as one of the client's visitors as long as the stream is there.
    pub(crate) fn held_by(self, serving: Serving) -> Self {
        Self { _serving: Some(serving), ..self }
    }

    /// Counts its first `bytes` no more: they are those that another stream has counted, which the visitor sent once.
    pub(crate) fn set_counted(&mut self, bytes: u64) {
        self.counted_before = bytes;
    }

    /// How much was written to it, now and later.
    pub(crate) fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Tells the client that this exchange was cut off.
    pub(crate) fn reset(self) {
        // Each of its streams is reset where it is dropped.
        drop(self);
    }

    /// The number of the lane it is on, which it can't leave; a twin counts for nothing.
    pub(crate) fn lane(&self) -> u32 {
        self.lane
    }

    /// When the upstream began to answer, if it has.
    pub(crate) fn first_byte(&self) -> Option<Instant> {
        self.first_byte
    }

    /// Whether a byte more may pass.
    fn check_allowance(&self) -> io::Result<()> {
        if self.is_counted && self.target.tally.account().is_spent() {
            return Err(io::Error::other(Spent));
        }
        Ok(())
    }

    /// Who serves the visitor.
    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Waits for the upstream.
    ///
    /// # Errors
    /// What the first read would fail with.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing of the upstream's is taken.
    pub(crate) async fn ready(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_ready(cx)).await
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(awaiting) = &mut self.reply {
            match StreamReply::decode(&awaiting.bytes[..awaiting.filled]) {
                Ok(Some((StreamReply::Ready, _))) => {
                    self.reply = None;
                    self.target.reach.reached();
                }
                Ok(Some((StreamReply::Accepted, _))) if !awaiting.accepted => {
                    awaiting.filled = 0;
                    awaiting.accepted = true;
                }
                // Once is enough: a client that says it for ever keeps nobody waiting.
                Ok(Some((StreamReply::Accepted, _))) => {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                Ok(Some((StreamReply::Refused(code), _))) => {
                    self.target.reach.failed(code);
                    if code == Code::ClientBusy {
                        self.target.session.crowded.send_modify(|refused| *refused += 1);
                    }
                    return Poll::Ready(Err(io::Error::other(StreamRefused(code))));
                }
                Err(error) => return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error))),
                Ok(None) => {
                    // Byte by byte, so that nothing of the upstream's is taken: these reads are from memory.
                    let mut byte = [0; 1];
                    let mut buf = ReadBuf::new(&mut byte);
                    let Poll::Ready(read) = Pin::new(self.inner.get_mut().get_mut()).poll_read(cx, &mut buf)
                    else {
                        ready!(awaiting.deadline.as_mut().poll(cx));
                        self.target.reach.failed(Code::UpstreamTimeout);
                        return Poll::Ready(Err(io::Error::other(StreamLate)));
                    };
                    read?;
                    let Some(&byte) = buf.filled().first() else {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                    };
                    awaiting.bytes[awaiting.filled] = byte;
                    awaiting.filled += 1;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for VisitorStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_ready(cx))?;
        self.check_allowance()?;
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        let count = buf.filled().len() - before;
        if self.is_counted && count > 0 {
            self.target.tally.add_out(count);
            self.first_byte.get_or_insert_with(Instant::now);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for VisitorStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_allowance()?;
        let wrote = ready!(Pin::new(&mut self.inner).poll_write(cx, buf));
        if let (true, Ok(count)) = (self.is_counted, &wrote) {
            let new = self.sent.add(*count).saturating_sub(self.counted_before);
            self.target.tally.add_in(usize::try_from(new).unwrap_or(usize::MAX).min(*count));
        }
        Poll::Ready(wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
