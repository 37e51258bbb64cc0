//! An answer on its way to the visitor.
//!
//! What is there is gathered before it is written: a small answer leaves in one piece with its head.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::{HeaderMap, HeaderName, Response};
use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body as _, Frame};
use tunnel_router::Version;

use super::{
    encode::{Framing, Plan, SMALL},
    fields,
    head::Terms,
    wire::Wire,
};
use crate::http::{answer::Answer, body::BodyError, headers};

/// So much of an answer is gathered before it is written, in bytes, and in so many pieces. It is what one visitor
/// that doesn't read makes us hold.
const GATHERED: usize = 64 * 1024;
const PIECES: usize = 16;

/// What is left to send of an answer.
#[derive(Debug)]
pub(super) struct Sending {
    outbox: Outbox,
    /// What comes then.
    body: Option<Answer>,
    framing: Framing,
    keep_alive: bool,
    version: Version,
    broken: Option<BodyError>,
}

/// How an answer went out, all of it or what there was.
#[derive(Debug)]
pub(super) enum Sent {
    /// Whole, and another request may follow.
    Next,
    /// Whole, and the last.
    Last,
    /// The visitor sees that some is missing.
    Cut(BodyError),
    /// The visitor would take what there is for the whole.
    Unmarked(BodyError),
}

impl Sending {
    /// Begins to answer on these `terms`; `may_go_on` is whether the connection could be used again.
    pub(super) fn new(response: Response<Answer>, terms: Terms, may_go_on: bool) -> Self {
        let (head, body) = response.into_parts();
        let is_over = body.is_end_stream();
        let length = if is_over { Some(0) } else { body.size_hint().exact() };
        let length = length.or_else(|| headers::the_length(&head.headers).ok());
        let plan = Plan::new(&head, length, terms, may_go_on);
        let mut outbox = Outbox::default();
        plan.write(&head, length, terms, &mut outbox.tail);
        let Plan { framing, keep_alive } = plan;
        let has_body = !(is_over || matches!(framing, Framing::None));
        let (body, version) = (has_body.then_some(body), terms.version);
        Self { outbox, body, framing, keep_alive, version, broken: None }
    }

    /// Sends what can be sent now. Ready when all there is has left.
    ///
    /// # Errors
    /// The socket's.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, wire: &Wire) -> Poll<io::Result<Sent>> {
        loop {
            self.gather(cx);
            if self.outbox.is_empty() {
                // TLS may have kept some of it.
                let flushed = wire.poll_flush(cx)?;
                if self.body.is_some() {
                    // Nothing more is there, and the body wakes us when that changes.
                    return Poll::Pending;
                }
                ready!(flushed);
                return Poll::Ready(Ok(self.sent()));
            }
            ready!(self.outbox.poll_write(cx, wire))?;
        }
    }

    fn sent(&mut self) -> Sent {
        match (self.broken.take(), self.version) {
            // Some that speak the old version take the end of a connection for that of an answer, whatever its length.
            (Some(error), Version::Http10) => Sent::Unmarked(error),
            (Some(error), Version::Http11) => Sent::Cut(error),
            (None, _) if self.keep_alive => Sent::Next,
            (None, _) => Sent::Last,
        }
    }

    fn gather(&mut self, cx: &mut Context<'_>) {
        while self.outbox.has_room()
            && let Some(body) = &mut self.body
        {
            let taken = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(frame)) => frame.and_then(|frame| self.take(frame)),
                Poll::Ready(None) => self.end(),
            };
            if let Err(error) = taken {
                (self.broken, self.body) = (Some(error), None);
            } else if self.body.as_ref().is_some_and(Answer::is_end_stream)
                && let Err(error) = self.end()
            {
                self.broken = Some(error);
            }
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), BodyError> {
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => match &mut self.framing {
                Framing::Length(left) => {
                    *left = left.checked_sub(data.len() as u64).ok_or(BodyError::Length)?;
                    self.outbox.push(data);
                }
                Framing::Chunked(_) => {
                    self.outbox.tail.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                    self.outbox.push(data);
                    self.outbox.tail.extend_from_slice(b"\r\n");
                }
                Framing::Close => self.outbox.push(data),
                Framing::None => {}
            },
            Err(frame) => {
                if let (Ok(trailers), Framing::Chunked(may_come)) = (frame.into_trailers(), &self.framing) {
                    self.outbox.tail.extend_from_slice(b"0\r\n");
                    write_trailers(&trailers, may_come, &mut self.outbox.tail);
                    self.outbox.tail.extend_from_slice(b"\r\n");
                    self.body = None;
                }
            }
        }
        Ok(())
    }

    /// The body is over.
    fn end(&mut self) -> Result<(), BodyError> {
        self.body = None;
        match self.framing {
            Framing::Length(1..) => return Err(BodyError::Length),
            Framing::Chunked(_) => self.outbox.tail.extend_from_slice(b"0\r\n\r\n"),
            Framing::Length(0) | Framing::Close | Framing::None => {}
        }
        Ok(())
    }
}

fn write_trailers(trailers: &HeaderMap, may_come: &[HeaderName], out: &mut BytesMut) {
    fields::write(trailers.iter().filter(|(name, _)| may_come.contains(name)), out);
}

/// Bytes to be written, in order.
#[derive(Debug, Default)]
struct Outbox {
    pieces: VecDeque<Bytes>,
    /// What comes behind them, and can still grow.
    tail: BytesMut,
    /// All bytes of the pieces.
    length: usize,
}

impl Outbox {
    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.tail.is_empty()
    }

    fn has_room(&self) -> bool {
        self.length + self.tail.len() < GATHERED && self.pieces.len() < PIECES
    }

    fn push(&mut self, data: Bytes) {
        if data.len() < SMALL {
            return self.tail.extend_from_slice(&data);
        }
        let tail = self.tail.split().freeze();
        for piece in [tail, data].into_iter().filter(|piece| !piece.is_empty()) {
            self.length += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Writes some of it.
    fn poll_write(&mut self, cx: &mut Context<'_>, wire: &Wire) -> Poll<io::Result<()>> {
        let written = if self.pieces.is_empty() {
            ready!(wire.poll_write(cx, &[IoSlice::new(&self.tail)]))?
        } else {
            let mut slices = [IoSlice::new(&[]); PIECES + 2];
            let mut count = 0;
            for piece in self.pieces.iter().map(|piece| &piece[..]).chain([&self.tail[..]]) {
                slices[count] = IoSlice::new(piece);
                count += 1;
            }
            ready!(wire.poll_write(cx, &slices[..count]))?
        };
        self.advance(written);
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            if written < piece.len() {
                piece.advance(written);
                self.length -= written;
                return;
            }
            written -= piece.len();
            self.length -= piece.len();
            self.pieces.pop_front();
        }
        self.tail.advance(written);
        if self.tail.is_empty() {
            // An empty view still keeps the whole allocation alive.
            self.tail = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests;
