//! An HTTP/2 stream as plain bytes, once a CONNECT has made it a tunnel (RFC 9113 §8.5, RFC 8441 §5).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::h2::{Reason, RecvStream, SendStream};
use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::socket::Socket;

/// Both ways of a stream. An end that came without [`poll_shutdown`](AsyncWrite::poll_shutdown) is a reset.
#[derive(Debug)]
pub(in crate::http) struct StreamIo {
    to: SendStream<Bytes>,
    from: RecvStream,
    /// What was taken and didn't fit the reader's buffer.
    rest: Bytes,
    is_shut: bool,
}

impl StreamIo {
    pub(in crate::http) fn new(to: SendStream<Bytes>, from: RecvStream) -> Self {
        Self { to, from, rest: Bytes::new(), is_shut: false }
    }
}

impl AsyncRead for StreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.from.poll_data(cx)) {
                Some(data) => {
                    let data = data.map_err(into_io)?;
                    self.from.flow_control().release_capacity(data.len()).map_err(into_io)?;
                    self.rest = data;
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest[..length]);
        self.rest.advance(length);
        if self.rest.is_empty() {
            // An empty view still keeps the whole allocation alive.
            self.rest = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if let Poll::Ready(reason) = self.to.poll_reset(cx).map_err(into_io)? {
            return Poll::Ready(Err(into_io(reason.into())));
        }
        self.to.reserve_capacity(bytes.len());
        while self.to.capacity() == 0 {
            match ready!(self.to.poll_capacity(cx)) {
                Some(room) => _ = room.map_err(into_io)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let length = self.to.capacity().min(bytes.len());
        self.to.send_data(Bytes::copy_from_slice(&bytes[..length]), false).map_err(into_io)?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            self.to.send_data(Bytes::new(), true).map_err(into_io)?;
            self.is_shut = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Socket for StreamIo {
    /// Its drop does it.
    fn abort(&mut self) {}
}

impl Drop for StreamIo {
    fn drop(&mut self) {
        // What TCP says with a reset (RFC 8441 §5.1).
        if !self.is_shut || !self.from.is_end_stream() {
            self.to.send_reset(Reason::CANCEL);
        }
    }
}

fn into_io(error: ::h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
    }
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
