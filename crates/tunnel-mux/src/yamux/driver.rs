//! The one task that polls yamux. It reads always, whoever is slow; a stream nobody accepts is
//! reset rather than waited for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Sleep, sleep};
use yamux::{Connection, ConnectionError, FrameDecodeError};

use super::requests::Request;
use super::turn::Turn;
use super::wire::SharedWire;
use super::{Permit, Shared, Stream};
use crate::{LaneError, OpenError};

/// The last stream id that is given out; yamux ends the session when it runs out of them.
const LAST_ID: u32 = u32::MAX - 4;

/// How long a lane may take to end in good order: a round trip on any path, and time to send what waits. A peer that
/// doesn't read, or doesn't hang up, isn't waited for any longer.
const FAREWELL: Duration = Duration::from_secs(5);

/// The future behind a [`Driver`](crate::Driver).
pub(super) struct Engine<T: AsyncRead + AsyncWrite + Unpin> {
    /// `None` once the lane ended: the socket closes with it, even if this future lives on.
    running: Option<Running<T>>,
    shared: Arc<Shared>,
}

struct Running<T: AsyncRead + AsyncWrite + Unpin> {
    connection: Connection<SharedWire<T>>,
    wire: SharedWire<T>,
    shared: Arc<Shared>,
    accept: mpsc::Sender<Stream>,
    turn: Turn,
    /// Runs once the lane is to end.
    farewell: Option<Pin<Box<Sleep>>>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Engine<T> {
    pub(super) fn new(
        connection: Connection<SharedWire<T>>,
        wire: SharedWire<T>,
        shared: Arc<Shared>,
        accept: mpsc::Sender<Stream>,
    ) -> Self {
        let running = Running {
            connection,
            wire,
            shared: Arc::clone(&shared),
            accept,
            turn: Turn::new(),
            farewell: None,
        };
        Self { running: Some(running), shared }
    }

    /// Closes the socket and fails every stream and open.
    fn stop(&mut self) {
        // First: whoever is woken by the connection's end shall see why.
        self.shared.lose();
        self.shared.requests.close();
        self.running = None;
        self.shared.set_held(0);
        self.shared.vacated.notify_waiters();
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for Engine<T> {
    type Output = Result<(), LaneError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(running) = &mut self.running else { return Poll::Ready(Ok(())) };
        match running.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(end) => {
                self.stop();
                if let Err(error) = &end {
                    tracing::debug!(%error, "lane ended");
                }
                Poll::Ready(end)
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Drop for Engine<T> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Running<T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LaneError>> {
        self.shared.requests.register(cx.waker());
        ready!(self.turn.poll(cx));
        let worked = self.work(cx);
        let work = self.wire.lock().take_work();
        self.turn.end(work);
        worked
    }

    fn work(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LaneError>> {
        if self.shared.requests.is_ending() {
            return self.poll_end(cx);
        }
        loop {
            while let Poll::Ready(inbound) = self.connection.poll_next_inbound(cx) {
                match inbound {
                    Some(Ok(stream)) => self.accept(stream)?,
                    Some(Err(error)) => return Poll::Ready(Err(self.name(error))),
                    None => return Poll::Ready(self.wire.lock().farewell()),
                }
            }
            let verdict = self.wire.lock().verdict();
            if let Some(error) = verdict {
                // A last try to tell the peer; it is not waited for.
                let _ = self.wire.lock().poll_flush(cx);
                return Poll::Ready(Err(error));
            }
            // yamux looks at a new stream only when polled again.
            if self.serve_requests(cx)? {
                continue;
            }
            self.wire.lock().sweep();
            let flushed = self.wire.lock().poll_flush(cx).map_err(LaneError::Io)?;
            // yamux waits for a socket that has just taken everything: nobody else will wake it.
            let resume = self.wire.lock().take_blocked();
            if !(flushed.is_ready() && resume) {
                return Poll::Pending;
            }
        }
    }

    /// Ends the lane in good order.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LaneError>> {
        let patience = self.farewell.get_or_insert_with(|| Box::pin(sleep(FAREWELL)));
        if patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.connection.poll_close(cx)).map_err(|error| self.name(error))?;
        // A socket closed over unread bytes is reset, and the peer may lose what it was sent.
        self.wire.lock().poll_drain(cx).map(Ok)
    }

    fn accept(&mut self, inner: yamux::Stream) -> Result<(), LaneError> {
        let mark = self.wire.lock().adopt_inbound(inner.id().val())?;
        let stream = Stream::new(inner, mark, Permit::for_inbound(&self.shared));
        match self.accept.try_send(stream) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(stream)) => {
                tracing::debug!(stream.id = stream.id(), "accept queue full: stream reset");
            }
        }
        Ok(())
    }

    /// Opens what can be opened; whether any was.
    fn serve_requests(&mut self, cx: &mut Context<'_>) -> Result<bool, LaneError> {
        let mut opened = false;
        while let Some(request) = self.shared.requests.pop() {
            if request.answer.is_closed() {
                continue;
            }
            if self.shared.holds_too_many_to_open() {
                request.permit.give_back_quietly();
                let _ = request.answer.send(Err(OpenError::Full));
                continue;
            }
            match self.connection.poll_new_outbound(cx) {
                Poll::Ready(Ok(stream)) => {
                    opened = true;
                    self.hand_over(request, stream)?;
                }
                Poll::Ready(Err(error)) => return Err(self.name(error)),
                Poll::Pending => {
                    self.shared.requests.put_back(request);
                    break;
                }
            }
        }
        Ok(opened)
    }

    fn hand_over(&mut self, request: Request, inner: yamux::Stream) -> Result<(), LaneError> {
        let id = inner.id().val();
        let mark = self.wire.lock().adopt_outbound(id)?;
        let stream = Stream::new(inner, mark, request.permit);
        // A caller that is gone drops the stream, which the wire then never mentions to the peer.
        let _ = request.answer.send(Ok(stream));
        if id >= LAST_ID {
            self.shared.requests.close();
        }
        Ok(())
    }

    fn name(&self, error: ConnectionError) -> LaneError {
        match error {
            ConnectionError::Io(error) | ConnectionError::Decode(FrameDecodeError::Io(error)) => {
                self.wire.lock().verdict().unwrap_or(LaneError::Io(error))
            }
            other => LaneError::Protocol(other.to_string()),
        }
    }
}
