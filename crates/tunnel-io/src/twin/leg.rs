//! One of the two streams: how far it was read, and how far it has taken what was said.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Coming;

/// A stream, and where it stands.
pub(super) struct Leg<S> {
    pub(super) stream: Presence<S>,
    /// Bytes read.
    pub(super) read: u64,
    /// Whether nothing of it is to be read any more: its end was, or all of its part.
    pub(super) is_read: bool,
    /// Bytes taken of what is said, those said before it came included.
    pub(super) sent: u64,
    /// Whether it has taken the end, too.
    pub(super) is_finished: bool,
    /// Why it takes nothing more.
    pub(super) refused: Option<io::Error>,
}

/// Whether a stream is there.
pub(super) enum Presence<S> {
    Coming(Coming<S>),
    Here(S),
    Gone,
}

/// What one direction says: the part of it that not every stream has taken.
#[derive(Default)]
pub(super) struct Said {
    /// Of the first bytes, those that follow `before`.
    copy: Vec<u8>,
    before: u64,
    /// All bytes, those that only the primary carries included.
    pub(super) total: u64,
    pub(super) is_ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Leg<S> {
    pub(super) fn new(stream: Presence<S>, said: u64) -> Self {
        Self { stream, read: 0, is_read: false, sent: said, is_finished: false, refused: None }
    }

    pub(super) fn is_here(&self) -> bool {
        matches!(self.stream, Presence::Here(_))
    }

    pub(super) fn is_coming(&self) -> bool {
        matches!(self.stream, Presence::Coming(_))
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self.stream, Presence::Gone)
    }

    /// Whether it has something to take of what is said, now or later.
    pub(super) fn is_told(&self) -> bool {
        !self.is_gone() && self.refused.is_none()
    }

    /// Looks whether it has come. Ready with whether it ever will, once that is known.
    pub(super) fn poll_come(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Presence::Coming(coming) = &mut self.stream else { return Poll::Pending };
        let come = ready!(coming.as_mut().poll(cx));
        self.stream = come.map_or(Presence::Gone, Presence::Here);
        Poll::Ready(self.is_here())
    }

    /// Reads what comes after the first `delivered` bytes, but nothing after the first `limit`; 0 is the end. Less
    /// than that was read when it comes too early.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        delivered: u64,
        limit: u64,
    ) -> Poll<io::Result<usize>> {
        let Presence::Here(stream) = &mut self.stream else { return Poll::Pending };
        loop {
            let skipped = delivered.saturating_sub(self.read);
            let most = if skipped > 0 { skipped } else { limit - self.read };
            let most = usize::try_from(most).unwrap_or(usize::MAX).min(buf.remaining());
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut part))?;
            let count = part.filled().len();
            self.read += count as u64;
            self.is_read = count == 0 || self.read >= limit;
            if count == 0 || skipped == 0 {
                buf.advance(count);
                return Poll::Ready(Ok(count));
            }
            if self.is_read {
                return Poll::Pending;
            }
        }
    }

    /// Ready when something comes of which nothing more should: a reset, most likely.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Presence::Here(stream) = &mut self.stream else { return Poll::Pending };
        Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut [0])).map(|_| ())
    }

    /// Passes on what was said and, if it `ends`, the end. Whether anything has changed.
    pub(super) fn push(&mut self, cx: &mut Context<'_>, said: &Said, ends: bool) -> bool {
        let Presence::Here(stream) = &mut self.stream else { return false };
        if self.is_finished || self.refused.is_some() {
            return false;
        }
        let sent = self.sent;
        while let rest @ [_, ..] = said.after(self.sent) {
            match Pin::new(&mut *stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => self.refused = Some(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.sent += count as u64;
                    continue;
                }
                Poll::Ready(Err(error)) => self.refused = Some(error),
                Poll::Pending => {}
            }
            return self.refused.is_some() || self.sent != sent;
        }
        if said.is_ended && ends && self.sent == said.total {
            match Pin::new(stream).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => self.is_finished = true,
                Poll::Ready(Err(error)) => self.refused = Some(error),
                Poll::Pending => {}
            }
        }
        self.is_finished || self.refused.is_some() || self.sent != sent
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Presence::Here(stream) = &mut self.stream else { return Poll::Pending };
        Pin::new(stream).poll_flush(cx)
    }
}

impl Said {
    pub(super) fn new(before: u64) -> Self {
        Self { before, total: before, ..Self::default() }
    }

    /// Keeps more to pass on.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.copy.extend_from_slice(bytes);
        self.total += bytes.len() as u64;
    }

    /// What is kept of it behind the first `sent` bytes.
    fn after(&self, sent: u64) -> &[u8] {
        let start = usize::try_from(sent.saturating_sub(self.before)).unwrap_or(usize::MAX);
        self.copy.get(start..).unwrap_or_default()
    }

    /// Forgets what is kept if the first `sent` bytes are all that it is.
    pub(super) fn forget(&mut self, sent: u64) {
        if !self.copy.is_empty() && self.after(sent).is_empty() {
            self.before += self.copy.len() as u64;
            self.copy.clear();
        }
    }
}

/// Shows how much, never what.
impl<S> fmt::Debug for Leg<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let presence = match self.stream {
            Presence::Coming(_) => "coming",
            Presence::Here(_) => "here",
            Presence::Gone => "gone",
        };
        write!(f, "{presence}, {} bytes read, {} sent", self.read, self.sent)
    }
}
