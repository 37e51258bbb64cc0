//! What the visitor gets: an upstream's answer, byte for byte, or a page of ours.
//!
//! The end of an answer is where all of an exchange is settled. It is whole only if the upstream said so; then its
//! stream may serve again. In all other cases the stream is reset and the visitor's connection is broken off, so
//! that neither side takes a part for the whole.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::sync::oneshot;

use super::{
    body::{BodyError, Inbound},
    compress::Squeeze,
    link::Link,
    socket::Socket,
    upload::Receipt,
};
use crate::{
    endpoint::{Admission, Serving},
    records::{Draft, Drafted},
};

/// An answer's body.
#[derive(Debug)]
pub(super) struct Answer {
    kind: Kind,
    /// The record of it, and whether it came to its end.
    draft: Drafted,
    is_over: bool,
}

#[expect(clippy::large_enum_variant, reason = "nearly all are an upstream's, and none is kept for long")]
#[derive(Debug)]
enum Kind {
    Page(Full<Bytes>),
    Upstream {
        body: Inbound,
        exchange: Exchange,
        _permit: Admission,
    },
    /// An upstream's, made smaller.
    Compressed {
        answer: Box<Answer>,
        squeeze: Box<Squeeze>,
    },
    /// What it is an answer on carries on as plain bytes, and goes there.
    Switch(Option<oneshot::Sender<Box<dyn Socket>>>),
}

/// One request and its answer on a [`Link`]. Dropped before its end, it resets the stream.
#[derive(Debug)]
pub(super) struct Exchange {
    link: Option<Link>,
    receipt: Receipt,
    can_reuse: bool,
}

impl Exchange {
    pub(super) fn new(link: Link, receipt: Receipt) -> Self {
        Self { link: Some(link), receipt, can_reuse: false }
    }

    /// The link, until the exchange is over.
    pub(super) fn link(&mut self) -> Option<&mut Link> {
        self.link.as_mut()
    }

    pub(super) fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// The upstream gave its answer.
    pub(super) fn set_answered(&mut self) {
        self.receipt.set_answered();
    }

    /// The upstream's answer is valid, and the stream may serve another exchange after it.
    pub(super) fn allow_reuse(&mut self) {
        self.can_reuse = true;
    }

    /// Gives the exchange up, and what is left of the request back.
    pub(super) fn give_up(mut self) -> Receipt {
        std::mem::take(&mut self.receipt)
    }

    /// The stream now belongs to whoever upgraded it, and so does the visitor's place at the client.
    pub(super) fn release(mut self) -> Option<Serving> {
        self.link.take().map(|link| link.serving)
    }

    /// Counts an answer that isn't whole, at its end.
    fn count_cut(&self) {
        self.link.iter().for_each(|link| link.serving.tally.count_cut());
    }

    /// The answer is whole.
    fn finish(&mut self) {
        let Some(link) = self.link.take() else { return };
        if !self.receipt.is_whole() {
            // The upstream didn't want the rest of the request.
            link.cut();
        } else if self.can_reuse {
            link.put_back();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            link.cut();
        }
    }
}

impl Answer {
    fn new(kind: Kind) -> Self {
        Self { kind, draft: None, is_over: false }
    }

    /// Notes in the record what becomes of it.
    pub(super) fn record(&mut self, draft: Arc<Draft>) {
        self.draft = Some(draft);
    }

    /// A page of ours.
    pub(super) fn page(page: Bytes) -> Self {
        Self::new(Kind::Page(Full::new(page)))
    }

    /// An answer without a body that no exchange hangs on.
    pub(super) fn empty() -> Self {
        Self::page(Bytes::new())
    }

    /// An answer after which its connection, or its HTTP/2 stream, is a stream of bytes, and who waits for it.
    pub(super) fn switch() -> (Self, oneshot::Receiver<Box<dyn Socket>>) {
        let (switch, switched) = oneshot::channel();
        (Self::new(Kind::Switch(Some(switch))), switched)
    }

    /// Who waits for the stream, if this is such an answer.
    pub(super) fn take_switch(&mut self) -> Option<oneshot::Sender<Box<dyn Socket>>> {
        match &mut self.kind {
            Kind::Switch(switch) => switch.take(),
            Kind::Page(_) | Kind::Upstream { .. } | Kind::Compressed { .. } => None,
        }
    }

    /// The same answer, made smaller.
    pub(super) fn compressed(self, squeeze: Squeeze) -> Self {
        Self::new(Kind::Compressed { answer: Box::new(self), squeeze: Box::new(squeeze) })
    }

    /// An upstream's answer.
    pub(super) fn upstream(body: Inbound, exchange: Exchange, permit: Admission) -> Self {
        Self::new(Kind::Upstream { body, exchange, _permit: permit })
    }
}

impl Kind {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (body, exchange) = match self {
            Self::Page(page) => return Pin::new(page).poll_frame(cx).map_err(|never| match never {}),
            Self::Compressed { answer, squeeze } => return squeeze.poll_frame(Pin::new(&mut **answer), cx),
            Self::Switch(_) => return Poll::Ready(None),
            Self::Upstream { body, exchange, .. } => (body, exchange),
        };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) if frame.is_data() && !body.is_end_stream() => {}
            Some(Ok(_)) | None => exchange.finish(),
            // Who sends it leaves out its end.
            Some(Err(_)) => {}
        }
        Poll::Ready(frame)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(this.kind.poll_frame(cx));
        if let Some(draft) = &this.draft {
            match &frame {
                Some(Ok(frame)) => {
                    draft.add_out(frame.data_ref().map_or(0, Bytes::len));
                    this.is_over |= frame.is_trailers();
                }
                None => this.is_over = true,
                Some(Err(_)) => {}
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Page(page) => page.is_end_stream(),
            Kind::Compressed { squeeze, .. } => squeeze.is_end_stream(),
            Kind::Switch(_) => true,
            Kind::Upstream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Page(page) => page.size_hint(),
            Kind::Compressed { .. } => SizeHint::default(),
            Kind::Switch(_) => SizeHint::with_exact(0),
            Kind::Upstream { body, .. } => body.size_hint(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(draft) = self.draft.take() {
            draft.end(self.is_over || self.is_end_stream());
        }
        // Nobody asks for bodies that are known to be empty.
        if let Kind::Upstream { body, exchange, .. } = &mut self.kind {
            if body.is_end_stream() {
                exchange.finish();
            }
            exchange.count_cut();
        }
    }
}
