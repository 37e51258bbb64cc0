//! HTTP/1.1 towards an upstream, on a stream of its own for each exchange.
//!
//! Whoever asks writes the request and reads the answer in its own task. A connection with a task of its own, as
//! hyper's client is one, would cost each exchange two more wake-ups, often of another thread, and two queues to pass
//! everything on by: more than all the rest that is done for a small request.
//!
//! ```text
//!   Asking::ask ─► head::write ─► Sending ──┐
//!                  (the rest of a long      ├──► Wire ══► the stream
//!                   body: a task of its own)│
//!   Inbound ◄── Received ◄── head::parse ◄──┘
//! ```

mod wire;

mod head;

mod received;
mod send;

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};

use ::http::{HeaderMap, Method, Response, StatusCode};
use bytes::{Buf, Bytes, BytesMut};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{head::HeadError, received::Ending, send::Sending};
pub(in crate::http) use self::{head::Reason, received::Received, wire::Wire};

use crate::http::{
    BUFFER,
    body::Inbound,
    link::{MOST_INTERIM, Question, UpstreamIo},
};

/// A stream to an upstream, between its exchanges.
#[derive(Debug)]
pub(in crate::http) struct Asking {
    wire: Wire,
    cut: CancellationToken,
    tasks: TaskTracker,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::http) enum AskError {
    /// What came is no answer.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The stream ended or broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The body of the request broke off.
    #[error("the request broke off")]
    Request,
}

impl Asking {
    /// Begins to use a stream, which is reset as soon as it is `cut`. Whatever goes on beside whoever asks is a task
    /// among `tasks`.
    pub(in crate::http) fn new(io: UpstreamIo, cut: CancellationToken, tasks: TaskTracker) -> Self {
        let wire = Wire::new(io, cut.clone());
        tasks.spawn(wire.reset_on(cut.clone()));
        Self { wire, cut, tasks }
    }

    /// Sends a request and waits for the head of its answer; `early` hears what comes before that. What is left of the
    /// request then is sent beside the answer.
    ///
    /// # Cancel safety
    /// Dropping it gives the exchange up; the stream is to be cut then.
    pub(in crate::http) async fn ask(
        &mut self,
        request: Question<'_>,
        early: Option<impl Fn(StatusCode, &HeaderMap)>,
    ) -> Result<Response<Inbound>, AskError> {
        let wire = &self.wire;
        let is_head = request.method == Method::HEAD;
        let mut sending = Some(Sending::new(request));
        wire.begin();
        let (mut came, mut interim) = (Came::default(), 0);
        let (response, rest) = poll_fn(|cx| {
            if let Some(unsent) = &mut sending
                && let Poll::Ready(sent) = unsent.poll(cx, wire)
            {
                sent?;
                wire.set_sent();
                sending = None;
            }
            loop {
                let (response, rest) = ready!(came.poll_head(cx, wire))?;
                let status = response.status();
                if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok::<_, AskError>((response, rest)));
                }
                interim += 1;
                if interim > MOST_INTERIM {
                    return Poll::Ready(Err(HeadError::Interim.into()));
                }
                came = Came::with(rest);
                early.iter().for_each(|early| early(status, response.headers()));
            }
        })
        .await?;
        let ending = Ending::of(&response, is_head)?;
        if let Some(rest) = sending {
            self.tasks.spawn(send_rest(rest, wire.clone(), self.cut.clone()));
        }
        let may_go_on = head::may_go_on(&response);
        let wire = wire.clone();
        Ok(response.map(|()| Inbound::Upstream(Received::new(wire, rest, ending, may_go_on))))
    }

    /// Whether an exchange may begin: the last one is over, and left the stream as it should.
    pub(in crate::http) fn is_ready(&self) -> bool {
        self.wire.is_ready()
    }

    /// Whether the stream, at rest, is of no use any more; if it still is, the task of `cx` is woken when that changes.
    pub(in crate::http) fn poll_gone(&self, cx: &mut Context<'_>) -> bool {
        self.wire.poll_gone(cx)
    }
}

/// Sends the rest of a request whose answer came first. If it breaks off, so does the answer.
async fn send_rest(mut rest: Sending, wire: Wire, cut: CancellationToken) {
    tokio::select! {
        biased;
        () = cut.cancelled() => {}
        sent = poll_fn(|cx| rest.poll(cx, &wire)) => match sent {
            Ok(()) => wire.set_sent(),
            Err(_) => cut.cancel(),
        },
    }
}

/// What came of a head so far.
#[derive(Debug, Default)]
struct Came {
    /// Bytes that weren't looked at yet.
    new: Bytes,
    /// The beginning, if it isn't all there.
    part: BytesMut,
}

impl Came {
    fn with(new: Bytes) -> Self {
        Self { new, part: BytesMut::new() }
    }

    /// A whole head, and what came behind it.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        wire: &Wire,
    ) -> Poll<Result<(Response<()>, Bytes), AskError>> {
        loop {
            if self.new.is_empty() {
                self.new = ready!(wire.poll_bytes(cx))?;
                if self.new.is_empty() {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
                }
            }
            // Nearly always it is there in one piece.
            let mut bytes = std::mem::take(&mut self.new);
            if !self.part.is_empty() {
                self.part.extend_from_slice(&bytes);
                bytes = std::mem::take(&mut self.part).freeze();
            }
            if let Some((response, length)) = head::parse(&bytes)? {
                bytes.advance(length);
                return Poll::Ready(Ok((response, bytes)));
            }
            if bytes.len() >= BUFFER {
                return Poll::Ready(Err(HeadError::TooLarge.into()));
            }
            self.part = BytesMut::from(bytes);
        }
    }
}

#[cfg(test)]
mod tests;
