//! The visitor's body on its way to the upstream.
//!
//! It is asked for once the request's head is written. What has to be known outside: whether it went through
//! whole (else the stream can't be used again), whether the visitor broke it off (else the upstream is blamed), and
//! whether all of it can still be had (then the request may still go elsewhere): nothing was taken yet, or what was
//! taken was kept.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tunnel_protocol::Code;

use super::body::{BodyError, Inbound};
use crate::records::Drafted;

/// How long an upstream may keep a visitor waiting that asked whether to send its body; then it is sent, since many
/// upstreams don't know how to answer (RFC 9110 §10.1.1).
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// A request's body, or none.
#[derive(Debug, Default)]
pub(super) struct Upload(Option<Sending>);

struct Sending {
    body: Option<Inbound>,
    /// While this is pending the body isn't asked for: asking has the visitor told to send it.
    hold: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// What was taken of the body; `None` once that can't be had again.
    taken: Option<Taken>,
    progress: Arc<Progress>,
    draft: Drafted,
    give_back: Option<oneshot::Sender<Inbound>>,
}

/// The begin of a body.
#[derive(Debug, Default)]
struct Taken {
    bytes: BytesMut,
    /// How much more may be kept, in bytes.
    room: usize,
}

/// What is known of an [`Upload`] from outside.
#[derive(Debug, Default)]
pub(super) struct Receipt {
    progress: Option<Arc<Progress>>,
    unsent: Option<oneshot::Receiver<Inbound>>,
}

#[derive(Debug, Default)]
struct Progress {
    is_whole: AtomicBool,
    failure: Mutex<Option<Code>>,
    /// The upstream said 100.
    wanted: CancellationToken,
    /// The upstream gave its answer.
    answered: AtomicBool,
}

impl Upload {
    /// A body to send, `None` for a request that has none. With `on_request` it waits to be asked for. So many bytes of
    /// its begin are `kept`, or it can't be had again once it was begun.
    pub(super) fn new(
        body: Option<Inbound>,
        on_request: bool,
        kept: usize,
        draft: Drafted,
    ) -> (Self, Receipt) {
        let Some(body) = body else { return (Self::default(), Receipt::default()) };
        let progress = Arc::<Progress>::default();
        let (give_back, unsent) = oneshot::channel();
        let sending = Sending {
            body: Some(body),
            hold: on_request.then(|| Box::pin(until_wanted(progress.clone())) as Pin<Box<_>>),
            taken: Some(Taken { bytes: BytesMut::new(), room: kept }),
            progress: progress.clone(),
            draft,
            give_back: Some(give_back),
        };
        (Self(Some(sending)), Receipt { progress: Some(progress), unsent: Some(unsent) })
    }
}

impl Receipt {
    /// Whether there is nothing left to send.
    pub(super) fn is_whole(&self) -> bool {
        self.progress.as_ref().is_none_or(|progress| progress.is_whole.load(Ordering::Acquire))
    }

    /// What the visitor did wrong, if the body ended because of it.
    pub(super) fn failure(&self) -> Option<Code> {
        *self.progress.as_ref()?.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the body: to be called when the upstream says 100.
    pub(super) fn on_continue(&self) -> impl Fn() + Send + Sync + 'static {
        let progress = self.progress.clone();
        move || progress.iter().for_each(|progress| progress.wanted.cancel())
    }

    /// The upstream gave its answer: a body that waits to be asked for is not asked for any more, and none is kept.
    pub(super) fn set_answered(&mut self) {
        self.unsent = None;
        if let Some(progress) = &self.progress {
            progress.answered.store(true, Ordering::Release);
        }
    }

    /// The body, if all of it can be had. Waits for the [`Upload`] to be dropped.
    pub(super) async fn unsent(self) -> Option<Inbound> {
        self.unsent?.await.ok()
    }
}

async fn until_wanted(progress: Arc<Progress>) {
    if tokio::time::timeout(CONTINUE_PATIENCE, progress.wanted.cancelled()).await.is_err()
        && progress.answered.load(Ordering::Acquire)
    {
        std::future::pending::<()>().await;
    }
}

impl Taken {
    /// With what was taken next, if that can be kept. Of trailers there is no need: an answer isn't far then.
    fn with(mut self, frame: &Option<Result<Frame<Bytes>, BodyError>>) -> Option<Self> {
        let Some(frame) = frame else { return Some(self) };
        let data = frame.as_ref().ok()?.data_ref()?;
        self.room = self.room.checked_sub(data.len())?;
        // A copy: views of many small pieces would hold much more than these.
        self.bytes.extend_from_slice(data);
        Some(self)
    }
}

impl Sending {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(hold) = &mut self.hold {
            ready!(hold.as_mut().poll(cx));
            self.hold = None;
        }
        // Also of a body that goes on for as long as its answer does, and says nothing.
        if self.progress.answered.load(Ordering::Acquire) {
            self.taken = None;
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        self.taken = self.taken.take().and_then(|taken| taken.with(&frame));
        if let (Some(draft), Some(Ok(frame))) = (&self.draft, &frame) {
            draft.add_in(frame.data_ref().map_or(0, Bytes::len));
        }
        match &frame {
            Some(Ok(frame)) if frame.is_data() && !body.is_end_stream() => {}
            Some(Ok(_)) | None => self.progress.is_whole.store(true, Ordering::Release),
            Some(Err(error)) => {
                let failure = Some(blame(error));
                *self.progress.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
            }
        }
        Poll::Ready(frame)
    }
}

/// What the visitor is told of its own fault, if it still listens.
fn blame(error: &BodyError) -> Code {
    if matches!(error, BodyError::Stalled) {
        return Code::RequestTimeout;
    }
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return Code::RequestTimeout;
        }
        source = error.source();
    }
    Code::BadRequest
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().0 {
            Some(sending) => sending.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_none_or(Inbound::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body().map_or(SizeHint::with_exact(0), Inbound::size_hint)
    }
}

impl Upload {
    fn body(&self) -> Option<&Inbound> {
        self.0.as_ref()?.body.as_ref()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let (Some(taken), Some(body), Some(give_back)) =
            (self.taken.take(), self.body.take(), self.give_back.take())
        {
            let taken = taken.bytes.freeze();
            let body = if taken.is_empty() { body } else { Inbound::begun(vec![Frame::data(taken)], body) };
            let _ = give_back.send(body);
        }
    }
}

impl std::fmt::Debug for Sending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { taken, progress, .. } = self;
        let mut debug = f.debug_struct("Sending");
        debug.field("taken", taken).field("progress", progress).finish_non_exhaustive()
    }
}
