//! A visitor's socket as `h2` sees it: watched for floods, and for a visitor that stops in the middle.
//!
//! `h2` bounds what a flood makes it hold: unaccepted resets, resets of its own making (MadeYouReset), CONTINUATIONs
//! of one head, a head's size when decoded, small DATA, one PING and one SETTINGS to answer. It doesn't bound the
//! work, and a reset it has already passed on costs a whole exchange (rapid reset). So frames that ask for nothing
//! but attention are paid for here, from a [`purse`](super::purse).

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    frames::{Follower, Kind},
    purse::{Budget, Purse, TALK, is_free},
};
use crate::http::{
    deadline::Deadline,
    socket::{Patience, Socket},
};

/// Streams that the visitor resets: how many at once, and a second. One that was reset after its answer had begun
/// costs nothing.
const RESETS: Purse = Purse { most: 200, rate: 20 };

/// A visitor's socket.
#[derive(Debug)]
pub(super) struct Wire<T: Socket> {
    io: T,
    patience: Patience,
    heard: Follower,
    said: Follower,
    talk: Budget,
    resets: Budget,
    /// Until when the visitor must have ended what it began, or taken something.
    reading: Deadline,
    writing: Deadline,
}

impl<T: Socket> Wire<T> {
    pub(super) fn new(io: T, patience: Patience) -> Self {
        Self {
            io,
            patience,
            heard: Follower::of_visitor(),
            said: Follower::of_server(),
            talk: Budget::new(TALK),
            resets: Budget::new(RESETS),
            reading: Deadline::default(),
            writing: Deadline::default(),
        }
    }

    fn hear(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self { heard, talk, resets, .. } = self;
        let heard = heard.advance(bytes, |frame| match frame.kind {
            Kind::Reset => resets.pay(),
            _ if is_free(frame) => Ok(()),
            _ => talk.pay(),
        });
        if heard.is_err() {
            self.io.abort();
        }
        heard.map_err(io::Error::other)
    }

    fn say(&mut self, bytes: &[u8]) {
        let Self { said, talk, resets, .. } = self;
        let Ok(()) = said.advance::<std::convert::Infallible>(bytes, |frame| {
            talk.earn_by(frame);
            if frame.kind == Kind::Headers {
                resets.earn(1);
            }
            Ok(())
        });
    }

    /// Passes on how a write went, unless the visitor has taken nothing for too long.
    fn check_write<R>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        self.writing.bound(cx, self.patience.stall, wrote)
    }
}

impl<T: Socket> AsyncRead for Wire<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let start = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Ready(read) => read?,
            Poll::Pending => {
                if this.heard.is_in_head() {
                    this.reading.set_if_clear(this.patience.head);
                    if this.reading.poll_expired(cx) {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                }
                return Poll::Pending;
            }
        }
        this.hear(&buf.filled()[start..])?;
        if !this.heard.is_in_head() {
            this.reading.clear();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Socket> AsyncWrite for Wire<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.io).poll_write(cx, bytes);
        let wrote = ready!(this.check_write(cx, wrote))?;
        this.say(&bytes[..wrote]);
        Poll::Ready(Ok(wrote))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        let wrote = ready!(this.check_write(cx, wrote))?;
        let mut left = wrote;
        for slice in slices {
            let length = slice.len().min(left);
            this.say(&slice[..length]);
            left -= length;
        }
        Poll::Ready(Ok(wrote))
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
        let shut = Pin::new(&mut this.io).poll_shutdown(cx);
        this.check_write(cx, shut)
    }
}
