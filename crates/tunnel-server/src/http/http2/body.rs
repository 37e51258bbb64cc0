//! A body that comes in on an HTTP/2 stream.

use std::{
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use ::h2::RecvStream;
use ::http::HeaderMap;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tunnel_router::may_trail;

use super::{super::body::BodyError, early::Early, linger::Whole};
use crate::http::deadline::Deadline;

/// The rest of a body. What was taken of it is at once made room for: nothing is taken before the other side wants
/// it.
#[derive(Debug)]
pub(in crate::http) struct Streamed {
    stream: RecvStream,
    /// How many bytes are left, if that was said.
    left: Option<u64>,
    is_data_over: bool,
    /// Tells a visitor that waits for it to send the body.
    wanted: Option<Early>,
    /// Who wants to know whether it came to its end.
    whole: Option<Whole>,
    /// How long a body whose length was said may keep us waiting.
    patience: Option<Duration>,
    /// It is a request's, whose trailers come when it has long been routed and let in.
    is_request: bool,
    deadline: Deadline,
}

impl Streamed {
    pub(super) fn new(stream: RecvStream, length: Option<u64>) -> Self {
        Self {
            stream,
            left: length,
            is_data_over: false,
            wanted: None,
            whole: None,
            patience: None,
            is_request: false,
            deadline: Deadline::default(),
        }
    }

    /// Gives a sender `patience` for each piece, if it said how much there is to send. Others may be silent for
    /// hours: their requests are conversations.
    pub(super) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = self.left.map(|_| patience);
        self
    }

    /// Takes no trailers that would have had a say in the head, as HTTP/1's reader doesn't.
    pub(super) fn of_request(mut self) -> Self {
        self.is_request = true;
        self
    }

    /// Lets whoever waits for it be told to send.
    pub(super) fn on_wanted(mut self, wanted: Early) -> Self {
        self.wanted = Some(wanted);
        self
    }

    /// Tells whether it came to its end, once nobody reads it any more.
    pub(super) fn telling(mut self, whole: Whole) -> Self {
        self.whole = Some(whole);
        self
    }

    pub(in crate::http) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(wanted) = self.wanted.take() {
            wanted.go_on();
        }
        if !self.is_data_over {
            let data = match self.stream.poll_data(cx) {
                Poll::Ready(data) => data,
                Poll::Pending => return self.poll_late(cx),
            };
            self.deadline.clear();
            if let Some(data) = data {
                let data = data?;
                self.stream.flow_control().release_capacity(data.len())?;
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.is_data_over = true;
        }
        let trailers = ready!(self.stream.poll_trailers(cx))?;
        let is_late = |trailers: &HeaderMap| trailers.keys().any(|name| !may_trail(name.as_str().as_bytes()));
        if self.is_request && trailers.as_ref().is_some_and(is_late) {
            return Poll::Ready(Some(Err(BodyError::Trailer)));
        }
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(patience) = self.patience else { return Poll::Pending };
        self.deadline.set_if_clear(patience);
        if self.deadline.poll_expired(cx) {
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        }
        Poll::Pending
    }

    pub(in crate::http) fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    pub(in crate::http) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        let Some(whole) = &self.whole else { return };
        // The end is only seen once nothing is before it, and who refuses a request has read nothing of it.
        let (mut cx, mut unread) = (Context::from_waker(Waker::noop()), 0);
        while let Poll::Ready(Some(Ok(data))) = self.stream.poll_data(&mut cx) {
            unread += data.len();
        }
        // Only now, so that no more of it comes meanwhile.
        let _ = self.stream.flow_control().release_capacity(unread);
        if self.stream.is_end_stream() {
            whole.set();
        }
    }
}
