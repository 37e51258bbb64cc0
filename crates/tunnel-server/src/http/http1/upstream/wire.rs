//! The stream itself, shared by who asks, the answer's body, and the task that may send the rest of a request.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, DropGuard};
use tunnel_io::scratch;

use super::UpstreamIo;

/// A stream to an upstream. When the last of its clones goes while no exchange is under way, the stream ends in good
/// order, and else it is reset.
#[derive(Clone, Debug)]
pub(in crate::http) struct Wire(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    /// `None` once it was reset.
    io: Option<UpstreamIo>,
    /// The request of the last exchange is whole.
    is_sent: bool,
    /// So is its answer.
    is_received: bool,
    /// No other exchange may follow.
    is_last: bool,
    /// Ends the task that waits for it.
    _gone: DropGuard,
}

impl Wire {
    /// A stream whose `cut` is cancelled when it goes.
    pub(super) fn new(io: UpstreamIo, cut: CancellationToken) -> Self {
        let (io, _gone) = (Some(io), cut.drop_guard());
        Self(Arc::new(Mutex::new(Inner { io, is_sent: false, is_received: false, is_last: false, _gone })))
    }

    /// Resets the stream when it is cut; whoever reads or writes it is woken. Doesn't keep it.
    pub(super) fn reset_on(&self, cut: CancellationToken) -> impl Future<Output = ()> + use<> {
        let wire = Arc::downgrade(&self.0);
        async move {
            cut.cancelled().await;
            if let Some(inner) = wire.upgrade() {
                let io = Self(inner).lock().io.take();
                drop(io);
            }
        }
    }

    /// An exchange begins.
    pub(super) fn begin(&self) {
        let mut inner = self.lock();
        (inner.is_sent, inner.is_received) = (false, false);
    }

    /// The request is whole.
    pub(super) fn set_sent(&self) {
        self.lock().is_sent = true;
    }

    /// The answer is whole, and another exchange may follow or may not.
    pub(super) fn set_received(&self, may_go_on: bool) {
        let mut inner = self.lock();
        inner.is_received = true;
        inner.is_last |= !may_go_on;
    }

    pub(super) fn is_ready(&self) -> bool {
        let inner = self.lock();
        inner.is_sent && inner.is_received && !inner.is_last
    }

    /// See [`Asking::poll_gone`](super::Asking::poll_gone).
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> bool {
        // Unasked bytes are nobody's answer.
        self.poll_read_some(cx, &mut ReadBuf::new(&mut [0])).is_ready()
    }

    /// What came, up to 64 KiB of it; nothing at the end.
    pub(super) fn poll_bytes(&self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        scratch::with(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(self.poll_read_some(cx, &mut buf))?;
            Poll::Ready(Ok(Bytes::copy_from_slice(buf.filled())))
        })
    }

    pub(super) fn poll_write_some(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|io| io.poll_write(cx, bytes))
    }

    fn poll_read_some(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|io| io.poll_read(cx, buf))
    }

    fn with<R>(&self, work: impl FnOnce(Pin<&mut UpstreamIo>) -> Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        match &mut self.lock().io {
            Some(io) => work(Pin::new(io)),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.is_sent
            && self.is_received
            && let Some(io) = &mut self.io
        {
            // At rest there is room for it.
            let _ = Pin::new(io).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// For what a stream carries once it was upgraded.
impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_read_some(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_some(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|io| io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|io| io.poll_shutdown(cx))
    }
}
