//! Closing a connection whose visitor may still be sending.
//!
//! A socket closed with bytes unread answers them with a reset, and a reset makes the visitor's system throw away
//! what it has not read yet: the end of our answer. So the writing side is ended first, and the visitor is listened
//! to a little longer.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::ReadBuf;

use super::{Socket, deadline::Deadline};

/// How much is read, in bytes, and for how long, before the visitor has to live with a reset.
const MOST: usize = 256 * 1024;
const LONGEST: Duration = Duration::from_secs(1);

/// Closes a socket.
#[derive(Debug, Default)]
pub(super) struct Linger {
    shut_down: bool,
    read: usize,
    deadline: Deadline,
}

impl Linger {
    /// Ends the writing side, then reads until the visitor ends its own, or a bound is reached.
    pub(super) fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut impl Socket,
        linger: bool,
    ) -> Poll<io::Result<()>> {
        if !self.shut_down {
            ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
            self.shut_down = true;
            self.deadline.set(LONGEST);
        }
        let mut scratch = [MaybeUninit::uninit(); 4096];
        while linger && self.read < MOST {
            let mut buf = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut *io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => self.read += buf.filled().len(),
                Poll::Ready(_ended) => break,
                Poll::Pending if self.deadline.poll_expired(cx) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}
