//! A visitor's socket whose first bytes can be read again.
//!
//! They are sent on before anybody knows whether the upstream is there. Where several clients serve, one whose upstream
//! isn't costs no visitor: what it was sent is sent to another.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tunnel_io::Prefixed;

/// How much is kept, in bytes.
const MOST: usize = 16 * 1024;

/// A socket, and what was read from it while nothing was written to it.
#[derive(Debug)]
pub(super) struct Kept<T> {
    io: Prefixed<T>,
    /// `None` once the first bytes can't be had again, or need not.
    read: Option<BytesMut>,
}

impl<T> Kept<T> {
    /// Keeps what is read only if that `is_wanted`.
    pub(super) fn new(io: Prefixed<T>, is_wanted: bool) -> Self {
        Self { io, read: is_wanted.then(BytesMut::new) }
    }

    /// The socket as if nobody had read from it, if that is possible.
    ///
    /// # Errors
    /// The socket as it is.
    pub(super) fn rewind(self) -> Result<Prefixed<T>, T> {
        let (io, unread) = self.io.into_inner();
        let Some(mut read) = self.read else { return Err(io) };
        read.extend_from_slice(&unread);
        Ok(Prefixed::new(read.freeze(), io))
    }

    pub(super) fn get_ref(&self) -> &T {
        self.io.get_ref()
    }

    pub(super) fn into_inner(self) -> T {
        self.io.into_inner().0
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Kept<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if let Some(read) = &mut self.read {
            let new = &buf.filled()[before..];
            if read.len() + new.len() <= MOST {
                read.extend_from_slice(new);
            } else {
                self.read = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Kept<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // The upstream has spoken.
        self.read = None;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.read = None;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_read_is_read_again_in_its_order() {
        let (near, mut far) = duplex(64);
        far.write_all(b" hello").await.unwrap();
        let mut kept = Kept::new(Prefixed::new("first".into(), near), true);
        kept.read_exact(&mut [0; 3]).await.unwrap();
        // Twice: the second may fail as the first did.
        let mut kept = Kept::new(kept.rewind().unwrap(), true);
        kept.read_exact(&mut [0; 8]).await.unwrap();
        let mut again = kept.rewind().unwrap();
        drop(far);
        let mut all = String::new();
        again.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "first hello");
    }

    #[tokio::test]
    async fn what_is_too_long_unwanted_or_answered_is_not_kept() {
        let kept =
            |length, is_wanted| Kept::new(Prefixed::new(vec![0; length].into(), duplex(1).0), is_wanted);
        for (length, is_wanted, can_rewind) in
            [(MOST, true, true), (MOST + 1, true, false), (1, false, false)]
        {
            let mut kept = kept(length, is_wanted);
            kept.read_exact(&mut vec![0; length]).await.unwrap();
            assert_eq!(kept.rewind().is_ok(), can_rewind, "{length}");
        }
        let (near, _far) = duplex(8);
        let mut kept = Kept::new(Prefixed::new("asked".into(), near), true);
        kept.read_exact(&mut [0; 5]).await.unwrap();
        kept.write_all(b"answer").await.unwrap();
        assert!(kept.rewind().is_err());
    }
}
