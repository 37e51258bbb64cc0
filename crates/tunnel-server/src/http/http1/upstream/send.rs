//! A request on its way to the upstream.

use std::{
    borrow::Cow,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING},
};
use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame};
use tunnel_router::may_trail;

use super::{AskError, Wire, head};
use crate::http::{headers, http1::fields, link::Question, upload::Upload};

/// So much is gathered before it is written, in bytes; a piece of a body that is larger is written as it is.
const GATHERED: usize = 8 * 1024;

/// What is left to send of a request.
#[derive(Debug)]
pub(super) struct Sending {
    /// Written first.
    gathered: BytesMut,
    /// A piece of a body with a length, written next.
    piece: Bytes,
    /// What comes then.
    body: Option<Upload>,
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    /// So much is to come.
    Length(u64),
    /// And these trailers may.
    Chunked(Vec<HeaderName>),
}

impl Sending {
    pub(super) fn new(request: Question<'_>) -> Self {
        let Question { method, uri, mut headers, upload } = request;
        let framing = frame(&mut headers, &upload);
        let body = (!upload.is_end_stream()).then_some(upload);
        Self { gathered: head::write(method, uri, &headers), piece: Bytes::new(), body, framing }
    }

    /// Sends what can be sent now. Ready when all is sent.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, wire: &Wire) -> Poll<Result<(), AskError>> {
        loop {
            self.gather(cx)?;
            if !self.gathered.is_empty() {
                let written = ready!(wire.poll_write_some(cx, &self.gathered))?;
                self.gathered.advance(written);
            } else if !self.piece.is_empty() {
                let written = ready!(wire.poll_write_some(cx, &self.piece))?;
                self.piece.advance(written);
            } else if self.body.is_none() {
                return Poll::Ready(Ok(()));
            } else {
                // Nothing more is there, and the body wakes us when that changes.
                return Poll::Pending;
            }
        }
    }

    fn gather(&mut self, cx: &mut Context<'_>) -> Result<(), AskError> {
        while self.piece.is_empty()
            && self.gathered.len() < GATHERED
            && let Some(body) = &mut self.body
        {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(frame))) => self.take(frame)?,
                Poll::Ready(Some(Err(_))) => return Err(AskError::Request),
                Poll::Ready(None) => self.end()?,
            }
            if self.body.as_ref().is_some_and(Upload::is_end_stream) {
                self.end()?;
            }
        }
        Ok(())
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), AskError> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                if let (Ok(trailers), Framing::Chunked(may_come)) = (frame.into_trailers(), &self.framing) {
                    let passes =
                        |name: &HeaderName| may_come.contains(name) && may_trail(name.as_str().as_bytes());
                    self.gathered.extend_from_slice(b"0\r\n");
                    fields::write(trailers.iter().filter(|(name, _)| passes(name)), &mut self.gathered);
                    self.gathered.extend_from_slice(b"\r\n");
                    self.body = None;
                }
                return Ok(());
            }
        };
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.framing {
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(AskError::Request)?;
                if data.len() > GATHERED {
                    self.piece = data;
                } else {
                    self.gathered.extend_from_slice(&data);
                }
            }
            Framing::Chunked(_) => {
                self.gathered.reserve(data.len() + 20);
                self.gathered.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                self.gathered.extend_from_slice(&data);
                self.gathered.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    /// The body is over.
    fn end(&mut self) -> Result<(), AskError> {
        self.body = None;
        match self.framing {
            Framing::Length(0) => Ok(()),
            Framing::Length(_) => Err(AskError::Request),
            Framing::Chunked(_) => {
                self.gathered.extend_from_slice(b"0\r\n\r\n");
                Ok(())
            }
        }
    }
}

/// How the body is delimited, said in the head.
fn frame(fields: &mut Cow<'_, HeaderMap>, upload: &Upload) -> Framing {
    if upload.is_end_stream() {
        if fields.contains_key(TRANSFER_ENCODING) {
            fields.to_mut().remove(TRANSFER_ENCODING);
        }
        return Framing::Length(0);
    }
    if !fields.contains_key(TRANSFER_ENCODING) {
        if let Ok(length) = headers::the_length(fields) {
            return Framing::Length(length);
        }
        if let Some(length) = upload.size_hint().exact() {
            fields.to_mut().insert(CONTENT_LENGTH, length.into());
            return Framing::Length(length);
        }
    }
    let fields = fields.to_mut();
    fields.remove(CONTENT_LENGTH);
    fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    let announced = headers::members(fields, &TRAILER);
    Framing::Chunked(announced.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect())
}
