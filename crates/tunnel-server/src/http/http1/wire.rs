//! A visitor's connection, shared by who serves it and the body of the request that is under way.
//!
//! It keeps the visitor's deadlines. At rest it holds no buffer.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use tunnel_io::scratch;
use tunnel_protocol::Code;
use tunnel_router::{Head, HeadReader, Sniff};

use super::{
    body::{Body, Follower},
    linger::{self, Linger},
};
use crate::http::{
    deadline::Deadline,
    facts::Refusal,
    socket::{Patience, Socket},
};

/// How much of the following requests is taken in while one is under way, in bytes; more stays in the socket.
const READ_AHEAD: usize = 32 * 1024;

/// What tells a visitor to send the body it announced.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A visitor's connection.
#[derive(Clone)]
pub(super) struct Wire(Arc<Mutex<Inner>>);

struct Inner {
    /// `None` once it was handed over.
    io: Option<Box<dyn Socket>>,
    patience: Patience,
    /// What came and belongs to nobody yet.
    stash: BytesMut,
    /// Nothing was asked yet.
    is_new: bool,
    /// A request is under way, and not answered.
    is_busy: bool,
    /// The visitor ended, or its connection broke.
    has_ended: bool,
    /// Until when the visitor must have sent something, or taken something.
    reading: Deadline,
    writing: Deadline,
    rest: Rest,
    /// How much of its body wasn't taken yet, in bytes, if its head says how long it is.
    left: u64,
    /// Who serves the connection, while somebody else reads from it.
    server: Option<Waker>,
    /// What is left to write of an interim answer, and whether some of it may have got no further than TLS.
    interim: &'static [u8],
    is_unflushed: bool,
    /// The answer to the last request has begun: it is too late for interim ones.
    is_answering: bool,
}

/// What is left of the request under way.
#[derive(Debug)]
pub(super) enum Rest {
    /// Nothing.
    Over,
    /// A body that the visitor may hold back until it is asked for it, which nobody did yet.
    Held,
    /// A body that somebody reads.
    Lent,
    /// A body that nobody wants.
    Unwanted(Follower),
    /// A body of which nobody knows where it ends, or whether it comes at all.
    Unknown,
}

/// The next request, before its head is understood.
pub(super) type Came = Result<(Head, Bytes), Refusal>;

impl Wire {
    /// A connection that began with `said`. The time for the first head runs `since` then.
    pub(super) fn new(io: Box<dyn Socket>, said: Bytes, patience: Patience, since: Instant) -> Self {
        let mut reading = Deadline::default();
        reading.set(patience.head.saturating_sub(since.elapsed()));
        Self(Arc::new(Mutex::new(Inner {
            io: Some(io),
            patience,
            stash: BytesMut::from(said),
            is_new: true,
            is_busy: false,
            has_ended: false,
            reading,
            writing: Deadline::default(),
            rest: Rest::Over,
            left: 0,
            server: None,
            interim: &[],
            is_unflushed: false,
            is_answering: false,
        })))
    }

    /// The next head, within its time; `None` if no more come.
    pub(super) fn poll_head(
        &self,
        cx: &mut Context<'_>,
        reader: &mut HeadReader,
    ) -> Poll<io::Result<Option<Came>>> {
        self.lock().poll_head(cx, reader)
    }

    /// The body of the request whose head came last.
    pub(super) fn lend(&self, follower: Follower, expects_continue: bool) -> Body {
        let mut inner = self.lock();
        inner.rest = if expects_continue { Rest::Held } else { Rest::Lent };
        inner.left = follower.left().unwrap_or_default();
        drop(inner);
        Body::new(self.clone(), follower, expects_continue)
    }

    /// Says what is left of the request now. Who serves the connection hears of it, unless that is the task of `cx`.
    pub(super) fn set_rest(&self, rest: Rest, cx: Option<&Context<'_>>) {
        let mut inner = self.lock();
        inner.rest = rest;
        let is_told = |server: &Waker| cx.is_some_and(|cx| server.will_wake(cx.waker()));
        let server = inner.server.take().filter(|server| !is_told(server));
        drop(inner);
        if let Some(server) = server {
            server.wake();
        }
    }

    /// Whether the visitor hung up while its request is under way. What it sends ahead waits.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.lock().poll_gone(cx)
    }

    /// At most `most` bytes of a body, within their time; nothing at the end.
    pub(super) fn poll_piece(&self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<Bytes>> {
        self.lock().poll_piece(cx, most)
    }

    /// Puts back what came behind a body in one piece with its end.
    pub(super) fn put_back(&self, beyond: &[u8]) {
        let mut inner = self.lock();
        let mut stash = BytesMut::with_capacity(beyond.len() + inner.stash.len());
        stash.extend_from_slice(beyond);
        stash.extend_from_slice(&inner.stash);
        inner.stash = stash;
    }

    /// Whether something came that nobody has taken.
    pub(super) fn has_more(&self) -> bool {
        !self.lock().stash.is_empty()
    }

    /// Has the visitor told to send its body, unless it began to, or was answered. Whether it is surely sent now.
    ///
    /// It is told by who serves the connection: there is one place for who waits to write, too.
    pub(super) fn ask(&self, cx: &Context<'_>) -> bool {
        let mut inner = self.lock();
        if !inner.stash.is_empty() || inner.is_answering {
            inner.rest = Rest::Lent;
            return !inner.stash.is_empty();
        }
        (inner.interim, inner.is_unflushed) = (CONTINUE, true);
        drop(inner);
        self.set_rest(Rest::Lent, Some(cx));
        true
    }

    /// An answer begins: from here on only that is written.
    pub(super) fn begin_answer(&self) {
        self.lock().is_answering = true;
    }

    /// The answer is over: from here on the connection's end is the end of nothing.
    pub(super) fn end_answer(&self) {
        self.lock().is_busy = false;
    }

    /// Whether the rest of the request is, as far as is known, not too long to be read for the sake of the next one.
    /// Who still reads it stops with the answer, and that comes soon if `is_refused`.
    pub(super) fn may_go_on(&self, is_refused: bool) -> bool {
        let inner = self.lock();
        match &inner.rest {
            Rest::Over => true,
            Rest::Lent => !is_refused || inner.left <= linger::MOST as u64,
            Rest::Held => !inner.stash.is_empty(),
            Rest::Unwanted(follower) => follower.may_end_soon(),
            Rest::Unknown => false,
        }
    }

    /// Whether nothing is left of the request.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.lock().rest, Rest::Over)
    }

    /// What is left of the request once nobody reads it any more.
    pub(super) fn poll_rest(&self, cx: &mut Context<'_>) -> Poll<Rest> {
        let mut inner = self.lock();
        if matches!(inner.rest, Rest::Held | Rest::Lent) {
            inner.set_server(cx);
            return Poll::Pending;
        }
        Poll::Ready(mem::replace(&mut inner.rest, Rest::Over))
    }

    /// The next request may come, within its time.
    pub(super) fn await_head(&self) {
        let mut inner = self.lock();
        inner.is_new = false;
        let patience = if inner.stash.is_empty() { inner.patience.idle } else { inner.patience.head };
        inner.reading.set(patience);
    }

    /// Writes some of `slices`, unless the visitor has taken nothing for too long.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        ready!(inner.poll_interim(cx))?;
        inner.poll_write(cx, slices)
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_flush(cx)
    }

    /// Closes the connection, which takes a while for a visitor that may still be sending (see [`Linger`]).
    pub(super) async fn close(&self, is_at_rest: bool) -> io::Result<()> {
        let is_listened_to = {
            let inner = self.lock();
            !(inner.has_ended || is_at_rest && inner.stash.is_empty())
        };
        let mut linger = Linger::default();
        std::future::poll_fn(|cx| {
            let mut inner = self.lock();
            let inner = &mut *inner;
            let Some(io) = &mut inner.io else { return Poll::Ready(Ok(())) };
            let closed = linger.poll_close(cx, io, is_listened_to);
            inner.check_write(cx, closed)
        })
        .await
    }

    /// Makes the connection's end an error for the visitor.
    pub(super) fn abort(&self) {
        if let Some(io) = &mut self.lock().io {
            io.abort();
        }
    }

    /// The same for a connection with a request under way. The end of one at rest is no error.
    pub(super) fn abort_if_busy(&self) {
        if self.lock().is_busy {
            self.abort();
        }
    }

    /// The socket, and what came ahead, for whoever carries on.
    pub(super) fn hand_over(&self) -> Option<(Box<dyn Socket>, Bytes)> {
        let mut inner = self.lock();
        let stash = mem::take(&mut inner.stash);
        inner.io.take().map(|io| (io, stash.freeze()))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn poll_head(&mut self, cx: &mut Context<'_>, reader: &mut HeadReader) -> Poll<io::Result<Option<Came>>> {
        loop {
            match reader.read(&self.stash) {
                Sniff::NeedMore => {}
                Sniff::Found(head) => {
                    (self.is_busy, self.is_answering) = (true, false);
                    self.reading.clear();
                    let bytes = self.take_stash(head.len);
                    return Poll::Ready(Ok(Some(Ok((head, bytes)))));
                }
                Sniff::NotThis(error) => {
                    self.is_busy = true;
                    return Poll::Ready(Ok(Some(Err(Refusal::from(error)))));
                }
            }
            let nothing_yet = self.stash.is_empty();
            match self.poll_fill(cx)? {
                Poll::Ready(0) => {
                    self.has_ended = true;
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(_) if nothing_yet && !self.is_new => self.reading.set(self.patience.head),
                Poll::Ready(_) => {}
                Poll::Pending if !self.reading.poll_expired(cx) => return Poll::Pending,
                // Nothing was asked, so there is nothing to answer.
                Poll::Pending if nothing_yet => return Poll::Ready(Ok(None)),
                Poll::Pending => {
                    self.is_busy = true;
                    let refusal = Refusal { code: Code::RequestTimeout, error: None };
                    return Poll::Ready(Ok(Some(Err(refusal))));
                }
            }
        }
    }

    fn set_server(&mut self, cx: &Context<'_>) {
        match &mut self.server {
            Some(server) => server.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_unflushed && matches!(self.poll_say(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(());
        }
        match self.rest {
            Rest::Over | Rest::Unwanted(_) | Rest::Unknown => {}
            // Until somebody begins to read.
            Rest::Held => self.set_server(cx),
            // There is one place for who waits to read, and the body's reader has it.
            Rest::Lent => {
                self.set_server(cx);
                return Poll::Pending;
            }
        }
        while !self.has_ended {
            if self.stash.len() >= READ_AHEAD {
                return Poll::Pending;
            }
            self.has_ended = !matches!(ready!(self.poll_fill(cx)), Ok(1..));
        }
        Poll::Ready(())
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<Bytes>> {
        let piece = ready!(self.poll_some(cx, most))?;
        self.left = self.left.saturating_sub(piece.len() as u64);
        Poll::Ready(Ok(piece))
    }

    fn poll_some(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<Bytes>> {
        if !self.stash.is_empty() {
            return Poll::Ready(Ok(self.take_stash(most)));
        }
        let read = scratch::with(|scratch| {
            let length = most.min(scratch.len());
            let mut buf = ReadBuf::new(&mut scratch[..length]);
            ready!(self.poll_read(cx, &mut buf))?;
            Poll::Ready(Ok(Bytes::copy_from_slice(buf.filled())))
        });
        self.reading.bound(cx, self.patience.stall, read)
    }

    /// Reads more into the stash; 0 at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        scratch::with(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(self.poll_read(cx, &mut buf))?;
            self.stash.extend_from_slice(buf.filled());
            Poll::Ready(Ok(buf.filled().len()))
        })
    }

    /// The first bytes of the stash, which is given up once it is empty.
    fn take_stash(&mut self, most: usize) -> Bytes {
        if self.stash.len() > most {
            return self.stash.split_to(most).freeze();
        }
        mem::take(&mut self.stash).freeze()
    }

    /// Gets an interim answer out.
    fn poll_say(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        ready!(self.poll_flush(cx))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = ready!(self.poll_write(cx, &[IoSlice::new(self.interim)]))?;
            self.interim = &self.interim[written..];
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Some(io) => Pin::new(io).poll_read(cx, buf),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let wrote = match slices {
            [slice] => Pin::new(io).poll_write(cx, slice),
            slices => Pin::new(io).poll_write_vectored(cx, slices),
        };
        match self.check_write(cx, wrote)? {
            Poll::Ready(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            wrote => wrote.map(Ok),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(())) };
        let flushed = Pin::new(io).poll_flush(cx);
        self.check_write(cx, flushed)
    }

    /// Passes on how a write went, unless the visitor has taken nothing for too long.
    fn check_write<R>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        self.writing.bound(cx, self.patience.stall, wrote)
    }
}

#[cfg(test)]
mod tests;
