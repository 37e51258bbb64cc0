//! One stream to an upstream, with HTTP/1.1 or HTTP/2 spoken on it.

use std::{
    borrow::Cow,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tunnel_protocol::{StreamKind, bind::UpstreamProtocol};

use super::{
    body::Inbound,
    http1::upstream as http1,
    http2::upstream::{AskError, Asking, Unanswered},
    pool,
    upload::Upload,
};
use crate::{
    dispatch::{self, DispatchError, Search, Visit},
    endpoint::{Endpoint, Serving},
    shared::Shared,
    stream::{Sent, VisitorStream},
};

/// How many interim answers (1xx) an upstream may give before its answer. None needs more than a few, and each costs
/// it next to nothing and us a head.
pub(super) const MOST_INTERIM: usize = 100;

/// A stream to an upstream, for one exchange at a time, and the visitor's place at the client meanwhile.
///
/// Dropping it lets the stream end in good order once nothing is under way; [`Link::cut`] resets it.
#[derive(Debug)]
pub(crate) struct Link {
    sender: Sender,
    lane: u32,
    pub(super) serving: Serving,
    /// Whether it has served an exchange before.
    pub(super) is_reused: bool,
    /// What was written to it, by all its exchanges.
    pub(super) sent: Sent,
    cut: CancellationToken,
}

/// A request as it is sent once. Its fields are another's as long as nobody changes them.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) method: &'a Method,
    /// A path and a query, and nothing else.
    pub(super) uri: &'a Uri,
    pub(super) headers: Cow<'a, HeaderMap>,
    pub(super) upload: Upload,
}

/// What is spoken.
#[derive(Debug)]
pub(super) enum Sender {
    Http1(http1::Asking),
    Http2(Asking),
}

/// A stream between two exchanges, as the pool keeps it.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) sender: Sender,
    pub(super) lane: u32,
    sent: Sent,
    cut: CancellationToken,
}

impl Link {
    /// A stream to whoever is to serve the visitor: with `reuse` an idle one if there is one for a request that can be
    /// sent again, or can't; else a new one. Of what the visitor says, so many bytes were `counted` already.
    ///
    /// # Errors
    /// Those of [`dispatch::open`]; nothing was sent then.
    pub(super) async fn get(
        shared: &Shared,
        mut search: Search<'_>,
        visit: Visit,
        reuse: Option<bool>,
        counted: u64,
    ) -> Result<Self, DispatchError> {
        loop {
            let serving = search.next().await?;
            // Only a new stream tells whether the upstream is back.
            let reuse = reuse.filter(|_| !serving.policies.separate_streams && !serving.is_trial());
            if let Some(is_repeatable) = reuse {
                let idle = serving.pool.take(is_repeatable, &serving.session);
                if let Some(Idle { sender, lane, sent, cut }) = idle {
                    return Ok(Self { sender, lane, serving, is_reused: true, sent, cut });
                }
                // Those that are there are too old for this request, or on a lane that is worse, and will be so for
                // the next one like it.
                serving.pool.give_way();
            }
            // Boxed, so that those that need none don't hold the room for it.
            if let Some(link) = Box::pin(Self::open(shared, &mut search, serving, visit, counted)).await? {
                return Ok(link);
            }
        }
    }

    /// A new stream to whoever serves; `None` if somebody else has to.
    async fn open(
        shared: &Shared,
        search: &mut Search<'_>,
        serving: Serving,
        visit: Visit,
        counted: u64,
    ) -> Result<Option<Self>, DispatchError> {
        let pace = search.pace(&serving);
        match dispatch::open_on(&serving, StreamKind::Http, visit, pace).await {
            Ok(mut stream) => {
                stream.set_counted(counted);
                Self::begin(shared, search.endpoint(), stream, serving).await.map(Some)
            }
            Err(missed) => search.missed(&serving, missed).map(|()| None),
        }
    }

    async fn begin(
        shared: &Shared,
        endpoint: &Endpoint,
        stream: VisitorStream,
        serving: Serving,
    ) -> Result<Self, DispatchError> {
        let cut = endpoint.over.child_token();
        let (lane, sent) = (stream.lane(), stream.sent().clone());
        let io = UpstreamIo { stream, cut: cut.clone(), is_read: false };
        let target = serving.target();
        let sender = if target.protocol == UpstreamProtocol::Http2 {
            let asking = Asking::begin(shared, io, cut.clone(), target.clone()).await;
            Sender::Http2(asking.map_err(|error| DispatchError::Broken(io::Error::other(error)))?)
        } else {
            pool::look_after(target, shared);
            Sender::Http1(http1::Asking::new(io, cut.clone(), shared.visitors.clone()))
        };
        Ok(Self { sender, lane, serving, is_reused: false, sent, cut })
    }

    /// Sends a request and waits for the head of its answer. `early` hears what comes before that, if anybody is to.
    ///
    /// # Cancel safety
    /// Dropping it gives the exchange up; the link is to be [`cut`](Self::cut) then.
    pub(super) async fn ask(
        &mut self,
        request: Question<'_>,
        early: Option<impl Fn(StatusCode, &HeaderMap)>,
    ) -> Result<Response<Inbound>, Unanswered> {
        match &mut self.sender {
            Sender::Http1(asking) => asking
                .ask(request, early)
                .await
                // A stream that had ended before wasn't given to us: what failed had been sent.
                .map_err(|error| Unanswered { error: AskError::Http1(error), is_unsent: false }),
            Sender::Http2(asking) => {
                let early =
                    |status, headers: &HeaderMap| early.iter().for_each(|early| early(status, headers));
                asking.ask(request.into_request(), early).await
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
        let Self { sender, lane, serving, sent, cut, .. } = self;
        // What the client said of the visitor at the stream's begin is true of that visitor only.
        if !serving.policies.separate_streams {
            serving.pool.put(Idle { sender, lane, sent, cut });
        }
    }
}

impl Question<'_> {
    fn into_request(self) -> Request<Upload> {
        let mut request = Request::new(self.upload);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.into_owned();
        request
    }
}

impl Sender {
    /// Whether an exchange may begin on it.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Http1(asking) => asking.is_ready(),
            Self::Http2(asking) => !asking.is_closed(),
        }
    }

    /// Whether it is of no more use, at rest. Of HTTP/1 the task of `cx` hears when that changes.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Http1(asking) => asking.poll_gone(cx),
            Self::Http2(asking) => asking.is_closed(),
        }
    }
}

/// The stream as those who speak HTTP on it see it, which differs in two ways.
///
/// `h2` shuts down whatever it gives up, and a shut-down side is whole for its peer: a stream that was cut isn't
/// shut down, and its drop resets it.
///
/// Who can't write gives up, but a peer that stopped listening may have said why: the answer, or the
/// refusal, that came before its reset. So what can't be written is dropped until reading has come to the end,
/// which tells all there is to tell.
#[derive(Debug)]
pub(super) struct UpstreamIo {
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
