//! Visitors that may still be sending when their answer is over.
//!
//! What is left of a request that nobody wants is read, if it isn't much, so that the next request can come. Else the
//! connection is closed, which takes some care: a socket with bytes unread answers them with a reset, and a reset
//! makes the visitor's system throw away what it has not read yet: the end of our answer. So the writing side is ended
//! first, and the visitor is listened to a little longer.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{io::ReadBuf, time::timeout};

use super::{
    body::Follower,
    wire::{Rest, Wire},
};
use crate::http::{deadline::Deadline, socket::Socket};

/// How much is read, in bytes, and for how long, before the connection is given up.
pub(super) const MOST: usize = 256 * 1024;
const LONGEST: Duration = Duration::from_secs(1);

/// Reads what is left of a request. Whether that was all of it, and the next one may come.
pub(super) async fn hear_out(wire: &Wire) -> bool {
    if wire.is_whole() {
        return true;
    }
    let heard = timeout(LONGEST, async {
        // Whoever reads it stops when it hears that the answer is over.
        match poll_fn(|cx| wire.poll_rest(cx)).await {
            Rest::Unwanted(follower) => follower.may_end_soon() && read(wire, follower).await,
            rest => matches!(rest, Rest::Over),
        }
    });
    heard.await.unwrap_or(false)
}

async fn read(wire: &Wire, mut follower: Follower) -> bool {
    let mut read = 0;
    while read < MOST {
        let Ok(piece) = poll_fn(|cx| wire.poll_piece(cx, MOST - read)).await else { return false };
        let Ok(progress) = follower.advance(&piece) else { return false };
        if progress.done {
            wire.put_back(&piece[progress.consumed..]);
            return true;
        }
        if piece.is_empty() {
            return false;
        }
        read += piece.len();
    }
    false
}

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
        is_listened_to: bool,
    ) -> Poll<io::Result<()>> {
        if !self.shut_down {
            ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
            self.shut_down = true;
            self.deadline.set(LONGEST);
        }
        let mut scratch = [MaybeUninit::uninit(); 4096];
        while is_listened_to && self.read < MOST {
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
