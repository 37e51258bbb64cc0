//! A message's body as it comes in, whichever version of HTTP brings it.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{http1, http1::upstream::Received, http2::body::Streamed};

/// A request's body from the visitor, or an answer's from the upstream.
#[derive(Debug)]
pub(super) enum Inbound {
    /// None at all.
    Empty,
    /// A visitor's, over HTTP/1.
    Visitor(http1::Body),
    /// An upstream's, over HTTP/1.
    Upstream(Received),
    Http2(Streamed),
    /// One of which some was read, and is read again.
    Begun {
        read: VecDeque<Frame<Bytes>>,
        rest: Box<Inbound>,
    },
}

impl Inbound {
    /// The body of which this much was read.
    pub(super) fn begun(read: Vec<Frame<Bytes>>, rest: Self) -> Self {
        Self::Begun { read: read.into(), rest: Box::new(rest) }
    }
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body broke off")]
    Http1(#[from] std::io::Error),
    #[error("the body broke off")]
    Http2(#[from] ::h2::Error),
    #[error("the body made no progress for too long")]
    Stalled,
    #[error("the body isn't as long as its head says")]
    Length,
    #[error("a trailer field is one that only a head may have")]
    Trailer,
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Visitor(body) => body.poll_frame(cx).map_err(BodyError::from),
            Self::Upstream(body) => body.poll_frame(cx).map_err(BodyError::from),
            Self::Http2(body) => body.poll_frame(cx),
            Self::Begun { read, rest } => match read.pop_front() {
                Some(frame) => Poll::Ready(Some(Ok(frame))),
                None => Pin::new(&mut **rest).poll_frame(cx),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Visitor(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
            Self::Begun { read, rest } => read.is_empty() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Visitor(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
            Self::Begun { read, rest } => {
                let read = read.iter().filter_map(Frame::data_ref).map(Bytes::len).sum::<usize>() as u64;
                let (rest, mut hint) = (rest.size_hint(), SizeHint::new());
                hint.set_lower(rest.lower() + read);
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper + read);
                }
                hint
            }
        }
    }
}
