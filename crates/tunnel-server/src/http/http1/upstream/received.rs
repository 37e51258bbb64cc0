//! An answer's body as it comes in.

use std::{
    io, mem,
    task::{Context, Poll, ready},
};

use ::http::{
    Response, StatusCode, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tunnel_io::Prefixed;

use super::{Wire, head::HeadError};
use crate::http::{
    headers,
    http1::chunks::{Chunks, Step},
};

/// How a body ends (RFC 9112 §6.3).
#[derive(Debug)]
pub(super) enum Ending {
    /// After so many bytes.
    Length(u64),
    Chunked(Box<Chunks>),
    /// With the stream.
    Stream,
    /// Never: it is none, but what comes after a change of protocol.
    Switched,
}

impl Ending {
    pub(super) fn of(answer: &Response<()>, is_head: bool) -> Result<Self, HeadError> {
        let headers = answer.headers();
        match answer.status() {
            StatusCode::SWITCHING_PROTOCOLS => return Ok(Self::Switched),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => return Ok(Self::Length(0)),
            _ if is_head => return Ok(Self::Length(0)),
            _ => {}
        }
        if headers.contains_key(TRANSFER_ENCODING) {
            if answer.version() == Version::HTTP_10 || !headers::is_chunked(headers) {
                return Err(HeadError::Framing);
            }
            return Ok(Self::Chunked(Box::default()));
        }
        if headers.contains_key(CONTENT_LENGTH) {
            return headers::the_length(headers).map(Self::Length).map_err(|_| HeadError::Framing);
        }
        Ok(Self::Stream)
    }
}

/// An upstream's answer, its head apart.
#[derive(Debug)]
pub(in crate::http) struct Received {
    wire: Wire,
    /// What came and wasn't handed over.
    came: Bytes,
    ending: Ending,
    /// Whether another exchange may follow.
    may_go_on: bool,
}

impl Received {
    /// A body of which `came` is there.
    pub(super) fn new(wire: Wire, came: Bytes, ending: Ending, may_go_on: bool) -> Self {
        let mut this = Self { wire, came, ending, may_go_on };
        if matches!(this.ending, Ending::Length(0)) {
            this.finish();
        }
        this
    }

    /// The next piece.
    pub(in crate::http) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if self.is_end_stream() {
                return Poll::Ready(None);
            }
            if self.came.is_empty() {
                self.came = ready!(self.wire.poll_bytes(cx))?;
                if self.came.is_empty() {
                    return Poll::Ready(match self.ending {
                        Ending::Stream => {
                            self.may_go_on = false;
                            self.finish();
                            None
                        }
                        _ => Some(Err(io::ErrorKind::UnexpectedEof.into())),
                    });
                }
            }
            let frame = match &mut self.ending {
                Ending::Length(left) => {
                    let length =
                        usize::try_from(*left).map_or(self.came.len(), |left| left.min(self.came.len()));
                    *left -= length as u64;
                    Frame::data(self.came.split_to(length))
                }
                Ending::Stream => Frame::data(mem::take(&mut self.came)),
                Ending::Chunked(chunks) => match chunks.advance(&mut self.came)? {
                    Step::More => continue,
                    Step::Data(data) => Frame::data(data),
                    Step::End(trailers) => {
                        self.ending = Ending::Length(0);
                        self.finish();
                        match trailers {
                            Some(trailers) => Frame::trailers(trailers),
                            None => continue,
                        }
                    }
                },
                Ending::Switched => return Poll::Ready(None),
            };
            if frame.is_data() && self.is_end_stream() {
                self.finish();
            }
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    pub(in crate::http) fn is_end_stream(&self) -> bool {
        matches!(self.ending, Ending::Length(0) | Ending::Switched)
    }

    pub(in crate::http) fn size_hint(&self) -> SizeHint {
        match self.ending {
            Ending::Length(left) => SizeHint::with_exact(left),
            Ending::Switched => SizeHint::with_exact(0),
            Ending::Chunked(_) | Ending::Stream => SizeHint::default(),
        }
    }

    /// The stream as it goes on after a change of protocol; `None` if there was none.
    pub(in crate::http) fn switched(self) -> Option<Prefixed<Wire>> {
        matches!(self.ending, Ending::Switched).then(|| Prefixed::new(self.came, self.wire))
    }

    /// The answer is whole. What came behind it is nobody's: an upstream that says more than it was asked has lost
    /// count, and so its stream isn't used again.
    fn finish(&mut self) {
        self.wire.set_received(self.may_go_on && self.came.is_empty());
        self.came = Bytes::new();
    }
}
