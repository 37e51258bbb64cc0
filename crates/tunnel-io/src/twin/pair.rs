//! The two streams together: which of them is read, and what each of them is told.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    Coming,
    leg::{Leg, Presence, Said},
    wakers::Wakers,
};

/// A primary and its twin.
pub(super) struct Pair<S> {
    primary: Leg<S>,
    twin: Leg<S>,
    /// How much of each direction the twin carries.
    limit: u64,
    /// Bytes handed to whoever reads.
    delivered: u64,
    /// Whether it was told of the end.
    is_ended: bool,
    /// Where the twin said that the end is.
    end: Option<u64>,
    said: Said,
    /// When the twin's time is over; `None` also once it is.
    until: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    is_over: bool,
    wakers: Arc<Wakers>,
    /// Of `wakers`.
    waker: Waker,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pair<S> {
    pub(super) fn of_primary(primary: S, twin: Coming<S>, limit: usize, said: usize) -> Self {
        Self::new(Presence::Here(primary), Presence::Coming(twin), limit, said)
    }

    pub(super) fn of_twin(twin: S, primary: Coming<S>, limit: usize, said: usize) -> Self {
        Self::new(Presence::Coming(primary), Presence::Here(twin), limit, said)
    }

    fn new(primary: Presence<S>, twin: Presence<S>, limit: usize, said: usize) -> Self {
        let said = said as u64;
        let wakers = Arc::<Wakers>::default();
        Self {
            primary: Leg::new(primary, said),
            twin: Leg::new(twin, said),
            limit: limit as u64,
            delivered: 0,
            is_ended: false,
            end: None,
            said: Said::new(said),
            until: None,
            is_over: false,
            waker: Waker::from(Arc::clone(&wakers)),
            wakers,
        }
    }

    pub(super) fn set_until(&mut self, over: Pin<Box<dyn Future<Output = ()> + Send + Sync>>) {
        self.until = Some(over);
    }

    /// The primary, if it is all that is left.
    pub(super) fn take_plain(&mut self) -> Option<S> {
        let is_read = self.primary.read == self.delivered && (!self.is_ended || self.primary.is_read);
        let is_told = self.primary.sent == self.said.total && self.primary.refused.is_none();
        let is_plain =
            self.twin.is_gone() && is_read && is_told && self.said.is_ended == self.primary.is_finished;
        if !is_plain || !self.primary.is_here() {
            return None;
        }
        let Presence::Here(primary) = std::mem::replace(&mut self.primary.stream, Presence::Gone) else {
            return None;
        };
        // One that waits for something waits for the primary from here on.
        self.waker.wake_by_ref();
        Some(primary)
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.wakers.reader().set(cx);
        let waker = self.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        if self.drive(cx) {
            self.wakers.writer().wake();
        }
        if self.is_ended || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(read) = self.poll_read_primary(cx, buf) {
            return Poll::Ready(read);
        }
        let read = self.poll_read_twin(cx, buf);
        if read.is_pending() && self.is_end() {
            self.is_ended = true;
            self.drop_useless();
            return Poll::Ready(Ok(()));
        }
        read
    }

    /// Whether the end that the twin told of can be passed on. Who has read it may never come here again, so the
    /// primary must have come, and have what was said meanwhile.
    fn is_end(&self) -> bool {
        let is_told = self.primary.sent == self.said.total || self.primary.refused.is_some();
        self.end == Some(self.delivered) && self.primary.is_here() && is_told
    }

    fn poll_read_primary(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.primary.is_gone() {
            return Poll::Ready(Err(never_came()));
        }
        match ready!(self.primary.poll_read(cx, buf, self.delivered, u64::MAX)) {
            Ok(0) if self.primary.read < self.delivered => {
                self.twin.stream = Presence::Gone;
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "ended before its twin did")))
            }
            Ok(count) => {
                self.delivered += count as u64;
                self.is_ended = count == 0;
                self.drop_useless();
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.twin.stream = Presence::Gone;
                Poll::Ready(Err(error))
            }
        }
    }

    fn poll_read_twin(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.twin.is_read {
            if self.twin.read >= self.limit && self.twin.poll_over(cx).is_ready() {
                self.twin.stream = Presence::Gone;
            }
            return Poll::Pending;
        }
        let Poll::Ready(read) = self.twin.poll_read(cx, buf, self.delivered, self.limit) else {
            self.drop_useless();
            return Poll::Pending;
        };
        match read {
            Ok(0) if self.twin.read == self.delivered => {
                self.end = Some(self.delivered);
                Poll::Pending
            }
            Ok(count) if count > 0 => {
                self.delivered += count as u64;
                self.drop_useless();
                Poll::Ready(Ok(()))
            }
            // Reset before the primary came: its opener has given up both.
            Err(error) if self.primary.is_coming() && error.kind() == io::ErrorKind::ConnectionReset => {
                (self.primary.stream, self.twin.stream) = (Presence::Gone, Presence::Gone);
                self.primary.refused.get_or_insert_with(never_came);
                // It may wait for the primary, which nobody else will tell it of any more.
                self.wakers.writer().wake();
                Poll::Ready(Err(error))
            }
            Ok(_) | Err(_) => {
                self.twin.stream = Presence::Gone;
                Poll::Pending
            }
        }
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wakers.writer().set(cx);
        let waker = self.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        self.drive_for_writer(cx);
        if self.said.is_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.check_refused()?;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = usize::try_from(self.limit.saturating_sub(self.said.total)).unwrap_or(usize::MAX);
        let first = &buf[..room.min(buf.len())];
        if self.primary.is_coming() && !first.is_empty() {
            self.said.keep(first);
            self.push(cx);
            return Poll::Ready(Ok(first.len()));
        }
        if self.primary.sent < self.said.total {
            return Poll::Pending;
        }
        let Presence::Here(primary) = &mut self.primary.stream else { return Poll::Pending };
        // What it takes is on its way whether or not anybody comes here again.
        let count = ready!(Pin::new(primary).poll_write(cx, if first.is_empty() { buf } else { first }))?;
        self.primary.sent += count as u64;
        if first.is_empty() {
            self.said.total += count as u64;
        } else {
            self.said.keep(&first[..count]);
            self.push(cx);
        }
        Poll::Ready(Ok(count))
    }

    /// Ready when one of the two has all that was written: then nothing waits here for anybody.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wakers.writer().set(cx);
        let waker = self.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        self.drive_for_writer(cx);
        self.check_refused()?;
        let twin = self.twin.poll_flush(cx);
        if self.primary.sent == self.said.total && self.primary.is_here() {
            return self.primary.poll_flush(cx);
        }
        let is_with_twin = self.twin.sent == self.said.total && self.twin.refused.is_none();
        if is_with_twin && matches!(twin, Poll::Ready(Ok(()))) { twin } else { Poll::Pending }
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wakers.writer().set(cx);
        let waker = self.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        self.said.is_ended = true;
        self.drive_for_writer(cx);
        if self.primary.is_finished || (self.twin.is_finished && self.primary.refused.is_some()) {
            return Poll::Ready(Ok(()));
        }
        self.check_refused()?;
        Poll::Pending
    }

    /// Fails if the primary takes nothing more: at first with its own words.
    fn check_refused(&mut self) -> io::Result<()> {
        let Some(error) = &mut self.primary.refused else { return Ok(()) };
        let again = error.kind().into();
        Err(std::mem::replace(error, again))
    }

    fn drive_for_writer(&mut self, cx: &mut Context<'_>) {
        if self.drive(cx) {
            self.wakers.reader().wake();
        }
    }

    /// Does what can be done without anybody's bytes. Whether that is news to whoever didn't ask.
    fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        let mut is_news = false;
        if let Poll::Ready(has_come) = self.primary.poll_come(cx) {
            is_news = true;
            if !has_come {
                self.twin.stream = Presence::Gone;
                self.primary.refused = Some(never_came());
            }
        }
        is_news |= self.twin.poll_come(cx).is_ready();
        if let Some(until) = &mut self.until
            && until.as_mut().poll(cx).is_ready()
        {
            (self.until, self.is_over) = (None, true);
        }
        is_news |= self.push(cx);
        self.drop_useless();
        is_news
    }

    /// Passes on what was said.
    fn push(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_moved = self.primary.push(cx, &self.said, true);
        // Where more came than it carries, the end isn't its business.
        has_moved |= self.twin.push(cx, &self.said, self.said.total < self.limit);
        let told = [&self.primary, &self.twin].into_iter().filter(|leg| leg.is_told());
        if let Some(least) = told.map(|leg| leg.sent).min() {
            self.said.forget(least);
        }
        has_moved
    }

    /// Drops a twin that can't help any more.
    fn drop_useless(&mut self) {
        if self.twin.is_gone() || !self.primary.is_here() {
            return;
        }
        let is_read = self.twin.is_read || self.is_ended || self.primary.read >= self.limit;
        let is_told = self.twin.is_finished || self.twin.sent >= self.limit || self.twin.refused.is_some();
        // The peer has the primary, of which nothing is behind the twin.
        let is_proven = self.primary.read > 0 && self.primary.read >= self.twin.read;
        let is_late = self.is_over && (is_proven || self.twin.is_coming());
        if (is_read && is_told) || is_late {
            self.twin.stream = Presence::Gone;
        }
    }
}

/// Shows how much, never what.
impl<S> fmt::Debug for Pair<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { primary, twin, delivered, .. } = self;
        f.debug_struct("Pair")
            .field("primary", primary)
            .field("twin", twin)
            .field("delivered", delivered)
            .finish_non_exhaustive()
    }
}

fn never_came() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "a twin's primary never came")
}
