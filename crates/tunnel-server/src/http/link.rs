//! One stream to an upstream, with HTTP/1.1 or HTTP/2 spoken on it.

use std::{
    io,
    pin::{Pin, pin},
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use ::http::{HeaderMap, Request, Response, StatusCode};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tunnel_protocol::{Code, StreamKind, bind::UpstreamProtocol};

use super::{
    BUFFER,
    body::Inbound,
    http2::upstream::{AskError, Asking, Unanswered},
    pool,
    upload::Upload,
};
use crate::{
    dispatch::{self, DispatchError, Search, Visit},
    endpoint::{Endpoint, Serving, Target},
    shared::Shared,
    stream::VisitorStream,
};

/// A stream to an upstream, for one exchange at a time, and the visitor's place at the client meanwhile.
///
/// Dropping it lets the stream end in good order once nothing is under way; [`Link::cut`] resets it.
#[derive(Debug)]
pub(crate) struct Link {
    sender: Sender,
    pub(super) serving: Serving,
    /// Whether it has served an exchange before.
    pub(super) is_reused: bool,
    cut: CancellationToken,
    refusal: Arc<OnceLock<Code>>,
}

/// What is spoken.
#[derive(Debug)]
pub(super) enum Sender {
    Http1(SendRequest<Upload>),
    Http2(Asking),
}

/// A stream between two exchanges, as the pool keeps it.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) sender: Sender,
    cut: CancellationToken,
    refusal: Arc<OnceLock<Code>>,
}

impl Link {
    /// A stream to whoever is to serve the visitor: one that was idle for less than `reuse`, or else a new one.
    ///
    /// # Errors
    /// Those of [`dispatch::open`]; nothing was sent then.
    pub(super) async fn get(
        shared: &Shared,
        mut search: Search<'_>,
        visit: Visit,
        reuse: Option<Duration>,
    ) -> Result<Self, DispatchError> {
        loop {
            let serving = search.next().await?;
            let reuse = reuse.filter(|_| !serving.policies.separate_streams);
            if let Some(Idle { sender, cut, refusal }) = reuse.and_then(|most| serving.pool.take(most)) {
                return Ok(Self { sender, serving, is_reused: true, cut, refusal });
            }
            let pace = search.pace(&serving);
            match dispatch::open_on(serving.target(), StreamKind::Http, visit, pace).await {
                Ok(stream) => return Self::begin(shared, search.endpoint(), stream, serving).await,
                Err(missed) => search.missed(&serving, missed)?,
            }
        }
    }

    async fn begin(
        shared: &Shared,
        endpoint: &Endpoint,
        stream: VisitorStream,
        serving: Serving,
    ) -> Result<Self, DispatchError> {
        let cut = endpoint.over.child_token();
        let refusal = Arc::new(OnceLock::new());
        let io = UpstreamIo { stream, cut: cut.clone(), is_read: false, refusal: refusal.clone() };
        let target = serving.target().clone();
        if target.protocol == UpstreamProtocol::Http2 {
            let asking = Asking::begin(shared, io, cut.clone(), target).await;
            let asking = asking.map_err(|error| DispatchError::Broken(io::Error::other(error)))?;
            return Ok(Self { sender: Sender::Http2(asking), serving, is_reused: false, cut, refusal });
        }
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| DispatchError::Broken(io::Error::other(error)))?;
        shared.visitors.spawn(drive(connection, cut.clone(), shared.draining.clone(), target));
        Ok(Self { sender: Sender::Http1(sender), serving, is_reused: false, cut, refusal })
    }

    /// Sends a request and waits for the head of its answer. `early` hears what comes before that, if anybody is to.
    ///
    /// # Cancel safety
    /// Dropping it gives the exchange up; the link is to be [`cut`](Self::cut) then.
    pub(super) async fn ask(
        &mut self,
        mut request: Request<Upload>,
        early: Option<impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static>,
    ) -> Result<Response<Inbound>, Unanswered> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                if let Some(early) = early {
                    hyper::ext::on_informational(&mut request, move |said| {
                        early(said.status(), said.headers());
                    });
                }
                let answered = sender.try_send_request(request).await;
                answered.map(|response| response.map(Inbound::from)).map_err(|mut error| {
                    // Said before the request was on its way, hyper doesn't pass it on.
                    if let Some(code) = self.refusal.get() {
                        let error = AskError::Dispatch(DispatchError::Refused(*code));
                        return Unanswered { error, is_unsent: false };
                    }
                    // Dropped with its link, the body comes back if nothing of it was taken.
                    let is_unsent = error.take_message().is_some();
                    Unanswered { error: AskError::Http1(error.into_error()), is_unsent }
                })
            }
            Sender::Http2(asking) => {
                let early =
                    |status, headers: &HeaderMap| early.iter().for_each(|early| early(status, headers));
                asking.ask(request, early).await
            }
        }
    }

    /// Whether an exchange on it may end by becoming a stream of bytes.
    pub(super) fn can_upgrade(&self) -> bool {
        matches!(self.sender, Sender::Http1(_))
    }

    /// Resets the stream: what was under way on it is not whole, and neither side may take it for that.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }

    /// Keeps the stream for another exchange.
    pub(super) fn put_back(self) {
        let Self { sender, serving, cut, refusal, .. } = self;
        // What the client said of the visitor at the stream's begin is true of that visitor only.
        if !serving.policies.separate_streams {
            serving.pool.put(Idle { sender, cut, refusal });
        }
    }
}

impl Sender {
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(asking) => asking.is_closed(),
        }
    }

    /// Whether it may be asked at once.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_ready(),
            Self::Http2(asking) => !asking.is_closed(),
        }
    }
}

/// Moves the bytes of one link until it ends, and looks after its client's idle ones meanwhile.
async fn drive(
    connection: http1::Connection<TokioIo<UpstreamIo>, Upload>,
    cut: CancellationToken,
    draining: CancellationToken,
    target: Arc<Target>,
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
                target.pool.close();
            }
            () = sleep(pool::IDLE) => target.pool.sweep(),
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
pub(super) struct UpstreamIo {
    stream: VisitorStream,
    cut: CancellationToken,
    /// Reading has come to the end, or failed.
    is_read: bool,
    /// What the client said instead of connecting the stream.
    refusal: Arc<OnceLock<Code>>,
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
        if let Err(error) = &read
            && let DispatchError::Refused(code) = DispatchError::from(error)
        {
            self.refusal.get_or_init(|| code);
        }
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
