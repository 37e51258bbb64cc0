//! Listen to a stream until something can be said about it, and give it back unread.
//!
//! The server must know a visitor's host name before it knows whose visitor it is; the sniffers
//! that find it are pure functions of the bytes so far, and this is the I/O around them.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::{error, fmt, io};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

use crate::{Prefixed, scratch};

/// Reads from `io` until `verdict` returns one, and returns it with a stream that replays
/// everything read.
///
/// `verdict` is called after every read with *all* bytes so far, at least one and at most `limit`;
/// `None` asks for more. It is called at `limit` too, so it may give a verdict of its own about a
/// head that is too long, and the caller keeps the stream to answer on.
///
/// Never takes more than `limit` bytes from `io`. Memory: none until the first byte comes, then at
/// most twice `limit`. There is no deadline inside: a visitor that says nothing is waited for until
/// the caller drops the future.
///
/// # Errors
///
/// [`PeekError::Limit`] if `limit` bytes brought no verdict, [`PeekError::Eof`] if the stream ended
/// first, [`PeekError::Io`] if reading failed. The stream is dropped in each case.
///
/// # Cancel safety
///
/// Not cancel safe, and need not be: the future owns `io`, so dropping it closes the stream.
pub async fn peek_until<T, V>(
    mut io: T,
    limit: usize,
    mut verdict: impl FnMut(&[u8]) -> Option<V>,
) -> Result<(V, Prefixed<T>), PeekError>
where
    T: AsyncRead + Unpin,
{
    let mut head = BytesMut::new();
    while head.len() < limit {
        let before = head.len();
        read_some(&mut io, limit, &mut head).await?;
        if head.len() == before {
            return Err(PeekError::Eof { after: before });
        }
        if let Some(verdict) = verdict(&head) {
            return Ok((verdict, Prefixed::new(head.freeze(), io)));
        }
    }
    Err(PeekError::Limit { limit })
}

/// Why there was no verdict.
#[derive(Debug)]
#[non_exhaustive]
pub enum PeekError {
    /// The first `limit` bytes were not enough for a verdict.
    Limit {
        /// The limit that was given, in bytes.
        limit: usize,
    },
    /// The stream ended before there was a verdict.
    Eof {
        /// Bytes read before the end; 0 for a visitor that said nothing at all (port scanners,
        /// health checks, browsers that open a spare connection).
        after: usize,
    },
    /// Reading failed.
    Io(io::Error),
}

impl fmt::Display for PeekError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit { limit } => write!(f, "no verdict within {limit} bytes"),
            Self::Eof { after } => write!(f, "the stream ended after {after} bytes, before a verdict"),
            Self::Io(_) => f.write_str("reading failed before a verdict"),
        }
    }
}

impl error::Error for PeekError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            Self::Limit { .. } | Self::Eof { .. } => None,
        }
    }
}

impl From<io::Error> for PeekError {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}

/// Appends the bytes of one read to `head`, up to `limit` in all; nothing at the end of the stream.
///
/// Reads into the scratch buffer, so that a silent visitor costs no buffer while it is waited for.
async fn read_some<T>(io: &mut T, limit: usize, head: &mut BytesMut) -> io::Result<()>
where
    T: AsyncRead + Unpin,
{
    let room = (limit - head.len()).min(scratch::SIZE);
    poll_fn(|cx| {
        scratch::with(|scratch| {
            loop {
                let mut read = ReadBuf::new(&mut scratch[..room]);
                match Pin::new(&mut *io).poll_read(cx, &mut read) {
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Poll::Ready(Ok(())) => {
                        head.extend_from_slice(read.filled());
                        return Poll::Ready(Ok(()));
                    }
                    other => return other,
                }
            }
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn line(head: &[u8]) -> Option<String> {
        let end = head.iter().position(|&byte| byte == b'\n')?;
        Some(String::from_utf8_lossy(&head[..end]).into_owned())
    }

    #[tokio::test]
    async fn the_verdict_comes_with_every_byte_still_readable() {
        for piece in 1..16 {
            let (near, mut far) = tokio::io::duplex(piece);
            let say = async {
                far.write_all(b"hello\nworld").await.unwrap();
                drop(far);
            };
            let listen = async {
                let (said, mut io) = peek_until(near, 64, line).await.unwrap();
                assert_eq!(said, "hello");
                let mut all = String::new();
                io.read_to_string(&mut all).await.unwrap();
                assert_eq!(all, "hello\nworld");
            };
            tokio::join!(say, listen);
        }
    }

    #[tokio::test]
    async fn never_takes_more_than_the_limit() {
        let mut longest = 0;
        let mut rest = &b"3456789"[..];
        let error = peek_until(b"012".chain(&mut rest), 4, |head| {
            longest = longest.max(head.len());
            None::<()>
        })
        .await
        .unwrap_err();
        assert!(matches!(error, PeekError::Limit { limit: 4 }), "{error}");
        assert_eq!((longest, rest), (4, &b"456789"[..]));
    }

    #[tokio::test]
    async fn a_verdict_on_the_last_byte_within_the_limit_counts() {
        let ((), io) = peek_until(&b"abcd"[..], 4, |head| (head == b"abcd").then_some(())).await.unwrap();
        assert_eq!(io.prefix(), "abcd");
    }

    #[tokio::test]
    async fn eof_says_how_much_was_heard() {
        let error = peek_until(&b"abc"[..], 64, line).await.unwrap_err();
        assert!(matches!(error, PeekError::Eof { after: 3 }), "{error}");
        let error = peek_until(&b""[..], 64, line).await.unwrap_err();
        assert!(matches!(error, PeekError::Eof { after: 0 }), "{error}");
    }

    #[tokio::test]
    async fn a_read_error_is_passed_on() {
        struct Broken;
        impl AsyncRead for Broken {
            fn poll_read(
                self: Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                _: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
        match peek_until(Broken, 64, line).await {
            Err(PeekError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
            other => panic!("{:?}", other.map(|(said, _)| said)),
        }
    }
}
