//! One name for "a byte stream of any kind", for the places where the kind is decided at run time.
//!
//! A visitor may arrive on TCP, on TLS, or on either behind a replayed prefix; code that only hands
//! the stream on should not be generic over that.

use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream that can be boxed and moved between threads. Implemented by every type that fits.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + ?Sized> Io for T {}

/// A stream whose kind is known only at run time. It is itself an [`Io`].
pub type BoxedIo = Box<dyn Io>;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::Prefixed;

    #[tokio::test]
    async fn kinds_mix_and_nest() {
        let (near, mut far) = tokio::io::duplex(16);
        let plain: BoxedIo = Box::new(near);
        let mut nested: BoxedIo = Box::new(Prefixed::new("hel".into(), plain));
        far.write_all(b"lo").await.unwrap();
        let mut said = [0; 5];
        nested.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"hello");
    }
}
