//! One stream to an upstream, with HTTP/1.1 spoken on it.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tunnel_protocol::StreamKind;

use super::{BUFFER, pool, upload::Upload};
use crate::{
    dispatch::{self, DispatchError, Visit},
    endpoint::Endpoint,
    shared::Shared,
    stream::VisitorStream,
};

/// A stream to an upstream, for one exchange at a time.
///
/// Dropping it lets the stream end in good order once nothing is under way; [`Link::cut`] resets it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(super) sender: SendRequest<Upload>,
    /// The pool's generation when the stream was opened: streams to a former client are not kept.
    pub(super) generation: u64,
    cut: CancellationToken,
}

impl Link {
    /// Opens a stream to the upstream behind `endpoint`.
    ///
    /// # Errors
    /// Those of [`dispatch::open`]; nothing was sent then.
    pub(super) async fn open(
        shared: &Shared,
        endpoint: &Arc<Endpoint>,
        visit: Visit,
    ) -> Result<Self, DispatchError> {
        // Read first: if the client changes while the stream is being opened, the stream is not kept.
        let generation = endpoint.pool.generation();
        let stream = dispatch::open(endpoint, StreamKind::Http, visit).await?;
        let cut = shared.stopping.child_token();
        let io = TokioIo::new(UpstreamIo { stream, cut: cut.clone(), is_read: false });
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(io)
            .await
            .map_err(|error| DispatchError::Broken(io::Error::other(error)))?;
        shared.visitors.spawn(drive(connection, cut.clone(), shared.draining.clone(), endpoint.clone()));
        Ok(Self { sender, generation, cut })
    }

    /// Resets the stream: what was under way on it is not whole, and neither side may take it for that.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }
}

/// Moves the bytes of one link until it ends, and looks after its tunnel's idle ones meanwhile.
async fn drive(
    connection: http1::Connection<TokioIo<UpstreamIo>, Upload>,
    cut: CancellationToken,
    draining: CancellationToken,
    endpoint: Arc<Endpoint>,
) {
    let mut connection = pin!(connection.with_upgrades());
    let (mut cut, mut drained) = (pin!(cut.cancelled()), pin!(draining.cancelled()));
    let mut is_drained = false;
    loop {
        tokio::select! {
            biased;
            () = &mut cut => return,
            // The exchange under way hears of errors itself.
            _ended = &mut connection => return,
            () = &mut drained, if !is_drained => {
                is_drained = true;
                endpoint.pool.close();
            }
            () = sleep(pool::IDLE) => endpoint.pool.sweep(),
        }
    }
}

/// The stream as hyper sees it, which differs in two ways.
///
/// hyper shuts down whatever it gives up, and a shut-down side is whole for its peer: a stream that was cut isn't
/// shut down, and its drop resets it.
///
/// hyper gives up when it can't write, but a peer that stopped listening may have said why: the answer, or the
/// refusal, that came before its reset. So what can't be written is dropped until reading has come to the end,
/// which tells all there is to tell.
#[derive(Debug)]
struct UpstreamIo {
    stream: VisitorStream,
    cut: CancellationToken,
    /// Reading has come to the end, or failed.
    is_read: bool,
}

impl AsyncRead for UpstreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.is_read |= read.is_err() || buf.filled().len() == before;
        Poll::Ready(read)
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes)) {
            Err(_) if !self.is_read => Poll::Ready(Ok(bytes.len())),
            wrote => Poll::Ready(wrote),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
            Err(_) if !self.is_read => Poll::Ready(Ok(())),
            flushed => Poll::Ready(flushed),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cut.is_cancelled() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
