//! A stream that replays bytes already taken from it.
//!
//! Finding out where a visitor wants to go means reading what it says; whoever serves it must read
//! the same bytes again, as if nobody had listened.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// `T`, with a prefix to be read before `T`'s own bytes. Writes go straight to `T`.
///
/// The prefix's memory is released as soon as its last byte is read.
pub struct Prefixed<T> {
    prefix: Bytes,
    inner: T,
}

impl<T> Prefixed<T> {
    /// Puts `prefix` (may be empty) in front of what `inner` has yet to say.
    pub fn new(prefix: Bytes, inner: T) -> Self {
        Self { prefix, inner }
    }

    /// The part of the prefix that has not been read yet.
    pub fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// The stream behind the prefix, to ask it about addresses or set its options.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The stream behind the prefix. Reading from it directly skips the prefix.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// The stream, and the part of the prefix that has not been read yet: dropping that part
    /// unless it is empty loses what the visitor said first.
    pub fn into_inner(self) -> (T, Bytes) {
        (self.inner, self.prefix)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Prefixed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let length = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..length]);
        self.prefix.advance(length);
        if self.prefix.is_empty() {
            // An empty view still keeps the whole allocation alive.
            self.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Prefixed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Shows the prefix's length only: it may hold a visitor's cookies or passwords.
impl<T: std::fmt::Debug> std::fmt::Debug for Prefixed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let prefix = format_args!("{} bytes", self.prefix.len());
        f.debug_struct("Prefixed").field("prefix", &prefix).field("inner", &self.inner).finish()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn the_prefix_comes_first_in_pieces_of_any_size() {
        for size in 1..8 {
            let mut io = Prefixed::new("prefix".into(), &b" and the rest"[..]);
            let mut said = Vec::new();
            let mut piece = vec![0; size];
            loop {
                let length = io.read(&mut piece).await.unwrap();
                if length == 0 {
                    break;
                }
                said.extend_from_slice(&piece[..length]);
            }
            assert_eq!(said, b"prefix and the rest", "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn an_empty_prefix_is_not_an_end_of_file() {
        let mut io = Prefixed::new(Bytes::new(), &b"rest"[..]);
        assert_eq!(io.read(&mut [0; 8]).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn an_empty_read_takes_nothing() {
        let mut io = Prefixed::new("prefix".into(), &b""[..]);
        assert_eq!(io.read(&mut []).await.unwrap(), 0);
        assert_eq!(io.prefix(), "prefix");
    }

    #[tokio::test]
    async fn writes_pass_through_beside_an_unread_prefix() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut io = Prefixed::new("prefix".into(), near);
        assert!(io.is_write_vectored());
        io.write_all(b"out").await.unwrap();
        io.shutdown().await.unwrap();
        let mut heard = String::new();
        far.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "out");
        assert_eq!(io.into_inner().1, "prefix");
    }

    #[tokio::test]
    async fn a_read_prefix_releases_its_memory() {
        let whole = Bytes::from(vec![1; 8]);
        let mut io = Prefixed::new(whole.clone(), &b""[..]);
        assert!(!whole.is_unique());
        io.read_exact(&mut [0; 8]).await.unwrap();
        assert!(whole.is_unique());
    }

    #[test]
    fn debug_hides_the_prefix() {
        let shown = format!("{:?}", Prefixed::new("secret".into(), 7));
        assert_eq!(shown, "Prefixed { prefix: 6 bytes, inner: 7 }");
    }
}
