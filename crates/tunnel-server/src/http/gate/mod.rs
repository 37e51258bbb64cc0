//! The strict reader in front of hyper: what passes here has one reading.
//!
//! hyper takes bare line feeds, several `Host` fields, and a length together with chunking. So it never sees a
//! byte of a request before [`tunnel_router`] has read the whole head and found it unambiguous; then the gate
//! follows the body to know where the next head starts. What the gate read (above all: for which host) goes to the
//! connection's service beside the request, one [`Verdict`] for each, so that nobody reads it a second time.
//!
//! ```text
//!   socket ──► stash ──► HeadReader ──► head, then body ──► hyper ──► service
//!                            │                                           ▲
//!                            └── Verdict (host, framing, … or refusal) ──┘
//! ```
//!
//! A refused head is replaced by a harmless request of ours. So hyper answers what came before it in order, then
//! has the service answer the refusal, and closes.
//!
//! One request passes at a time: the next one stays outside until the answer to the last is over. That keeps bytes
//! behind an upgrade request out of HTTP until it is known whether they are HTTP (RFC 9931), and it lets a visitor
//! who hangs up be noticed even if it had sent more requests ahead.
//!
//! The gate also keeps the visitor's deadlines, all of them until an upgrade and none after it. A connection at
//! rest holds no buffer here.

mod turn;

mod deadline;
mod head;
mod linger;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tunnel_io::Prefixed;
use tunnel_protocol::Code;
use tunnel_router::{Head, HeadLimits, HeadReader, Sniff};

pub(crate) use self::{
    deadline::Deadline,
    head::{Facts, Refusal},
    turn::{Turn, Turns, Verdict},
};
use self::{
    head::{Follower, admit},
    linger::Linger,
    turn::Next,
};
use crate::config::Timeouts;

/// What hyper reads instead of a head that was refused.
const SENTINEL: &[u8] = b"GET / HTTP/1.1\r\nHost: invalid\r\nConnection: close\r\n\r\n";

/// How much of the following requests is taken in while one is under way, in bytes; more stays in the socket.
const READ_AHEAD: usize = 32 * 1024;

/// A visitor's socket.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Makes closing the socket an error for its peer, and not an end: what was sent is not all there is.
    fn abort(&mut self);
}

impl<T: Socket> Socket for Prefixed<T> {
    fn abort(&mut self) {
        self.get_mut().abort();
    }
}

impl Socket for TcpStream {
    fn abort(&mut self) {
        // Fails on a socket that is broken already.
        let _ = self.set_zero_linger();
    }
}

/// How long a visitor may take; see [`Timeouts`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(super) head: Duration,
    pub(super) idle: Duration,
    pub(super) stall: Duration,
    pub(super) linger: Duration,
}

impl From<&Timeouts> for Patience {
    fn from(timeouts: &Timeouts) -> Self {
        Self { head: timeouts.head, idle: timeouts.idle, stall: timeouts.stall, linger: timeouts.linger }
    }
}

/// A visitor's socket as hyper sees it.
#[derive(Debug)]
pub(crate) struct Gate<T: Socket> {
    io: T,
    turns: Turns,
    patience: Patience,
    state: State,
    reader: HeadReader,
    /// Bytes that came and may not pass yet.
    stash: BytesMut,
    /// Until when the visitor must have sent something, or taken something.
    reading: Deadline,
    writing: Deadline,
    linger: Linger,
}

#[derive(Debug)]
enum State {
    /// Before a head, or in one.
    Head { first: bool },
    /// Hands out a head that passed; its body follows.
    Giving { head: Bytes, body: Option<Follower> },
    /// In a body.
    Body(Follower),
    /// The request is whole, its answer isn't.
    Held,
    /// Hands out the sentinel.
    Refusing { left: &'static [u8] },
    /// All that passes has passed; the service's answer to the refusal is under way.
    Refused,
    /// After an upgrade: the bytes are no longer HTTP.
    Open,
    /// The visitor ended, or was given up.
    Ended,
}

impl<T: Socket> Gate<T> {
    /// A gate in front of a new connection, and the service's end of it. `said` was read of it already; the time for
    /// the first head runs `since` then.
    pub(crate) fn new(io: T, said: Bytes, patience: Patience, since: Instant) -> (Self, Turns) {
        let turns = Turns::default();
        let mut reading = Deadline::default();
        reading.set(patience.head.saturating_sub(since.elapsed()));
        let gate = Self {
            io,
            turns: turns.clone(),
            patience,
            state: State::Head { first: true },
            reader: HeadReader::new(HeadLimits::default()),
            stash: BytesMut::from(said),
            reading,
            writing: Deadline::default(),
            linger: Linger::default(),
        };
        (gate, turns)
    }

    /// Lets a head in: hyper and the service get to see it.
    fn let_in(&mut self, head: &Head) {
        let mut bytes = std::mem::take(&mut self.stash);
        if bytes.len() > head.len {
            self.stash = bytes.split_off(head.len);
        }
        let bytes = bytes.freeze();
        self.reading.clear();
        match admit(head, bytes) {
            Ok((facts, head, body)) => {
                self.turns.begin(Ok(facts));
                self.state = State::Giving { head, body };
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.stash = BytesMut::new();
        self.reading.clear();
        self.turns.begin(Err(refusal));
        self.state = State::Refusing { left: SENTINEL };
    }

    fn await_head(&mut self) {
        let patience = if self.stash.is_empty() { self.patience.idle } else { self.patience.head };
        self.reading.set(patience);
        self.state = State::Head { first: false };
    }

    /// Reads more of a head, within its time.
    fn poll_head(&mut self, cx: &mut Context<'_>, scratch: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let nothing_yet = self.stash.is_empty();
        match self.poll_stash(cx, scratch)? {
            Poll::Ready(0) => self.state = State::Ended,
            Poll::Ready(_) if nothing_yet && matches!(self.state, State::Head { first: false }) => {
                self.reading.set(self.patience.head);
            }
            Poll::Ready(_) => {}
            Poll::Pending => {
                if nothing_yet && self.writing.is_set() {
                    // Not at rest: it is still taking the last answer.
                    self.reading.set(self.patience.idle);
                }
                if !self.reading.poll_expired(cx) {
                    return Poll::Pending;
                }
                if nothing_yet {
                    // Nothing was asked, so there is nothing to answer.
                    self.state = State::Ended;
                } else {
                    self.refuse(Refusal { code: Code::RequestTimeout, error: None });
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads more into the stash, which is at most [`READ_AHEAD`] and `scratch` large.
    fn poll_stash(&mut self, cx: &mut Context<'_>, scratch: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        // hyper's buffer serves for reading, so that a connection at rest needs none of ours.
        let start = scratch.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, scratch))?;
        let new = &scratch.filled()[start..];
        let read = new.len();
        self.stash.extend_from_slice(new);
        scratch.set_filled(start);
        Poll::Ready(Ok(read))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let State::Body(body) = &mut self.state else { return Poll::Ready(Ok(())) };
        let start = buf.filled().len();
        if self.stash.is_empty() {
            match Pin::new(&mut self.io).poll_read(cx, buf) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    self.reading.set_if_clear(self.patience.stall);
                    if self.reading.poll_expired(cx) {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                    return Poll::Pending;
                }
            }
        } else {
            give(&mut self.stash, buf);
        }
        self.reading.clear();
        let new = &buf.filled()[start..];
        if new.is_empty() {
            self.state = State::Ended;
            return Poll::Ready(Ok(()));
        }
        let progress =
            body.advance(new).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let beyond = &new[progress.consumed..];
        if !beyond.is_empty() {
            // What is behind the body came in one piece with its end: back to the front of the stash.
            let mut stash = BytesMut::with_capacity(beyond.len() + self.stash.len());
            stash.extend_from_slice(beyond);
            stash.extend_from_slice(&self.stash);
            self.stash = stash;
            buf.set_filled(start + progress.consumed);
        }
        if progress.done {
            self.state = State::Held;
        }
        self.release_stash();
        Poll::Ready(Ok(()))
    }

    /// The answer is under way: looks whether it is over, and whether the visitor is still there.
    fn poll_held(&mut self, cx: &mut Context<'_>, scratch: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.turns.poll_next(cx) {
            Poll::Ready(Next::Request) => self.await_head(),
            Poll::Ready(Next::Upgraded) => self.state = State::Open,
            Poll::Pending if self.stash.len() >= READ_AHEAD => return Poll::Pending,
            Poll::Pending => {
                if ready!(self.poll_stash(cx, scratch))? == 0 {
                    self.state = State::Ended;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn release_stash(&mut self) {
        if self.stash.is_empty() {
            self.stash = BytesMut::new();
        }
    }

    /// Passes on how a write went, unless the visitor has taken nothing for too long.
    fn check_write<R>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if wrote.is_ready() || matches!(self.state, State::Open) {
            self.writing.clear();
            return wrote;
        }
        self.writing.set_if_clear(self.patience.stall);
        if self.writing.poll_expired(cx) { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { wrote }
    }
}

/// Moves what fits from the front of `from`.
fn give(from: &mut impl Buf, to: &mut ReadBuf<'_>) {
    let length = from.chunk().len().min(to.remaining());
    to.put_slice(&from.chunk()[..length]);
    from.advance(length);
}

impl<T: Socket> AsyncRead for Gate<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Head { .. } => match this.reader.read(&this.stash) {
                    Sniff::Found(head) => this.let_in(&head),
                    Sniff::NotThis(error) => this.refuse(Refusal::from(error)),
                    Sniff::NeedMore => ready!(this.poll_head(cx, buf))?,
                },
                State::Giving { head, body } => {
                    give(head, buf);
                    if head.is_empty() {
                        this.state = body.take().map_or(State::Held, State::Body);
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Body(_) => return this.poll_body(cx, buf),
                State::Held => ready!(this.poll_held(cx, buf))?,
                State::Refusing { left } => {
                    give(left, buf);
                    if left.is_empty() {
                        this.state = State::Refused;
                    }
                    return Poll::Ready(Ok(()));
                }
                // hyper closes by itself after the answer; an end before that would make it give the answer up.
                State::Refused => return Poll::Pending,
                State::Open if this.stash.is_empty() => return Pin::new(&mut this.io).poll_read(cx, buf),
                State::Open => {
                    give(&mut this.stash, buf);
                    this.release_stash();
                    return Poll::Ready(Ok(()));
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<T: Socket> AsyncWrite for Gate<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.check_write(cx, wrote)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.check_write(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        this.check_write(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Someone who may still be sending must be read from for a while (see `linger`).
        let is_done = match this.state {
            State::Open | State::Ended => true,
            State::Head { .. } => this.stash.is_empty(),
            _ => false,
        };
        let closed = this.linger.poll_close(cx, &mut this.io, !is_done);
        this.check_write(cx, closed)
    }
}

impl<T: Socket> Drop for Gate<T> {
    fn drop(&mut self) {
        if self.turns.is_cut() {
            self.io.abort();
        }
    }
}

#[cfg(test)]
mod tests;
