//! A body on its way through gzip.
//!
//! Whenever the upstream has nothing more to say for the moment, what it said so far goes out: an event that waits in
//! a coder is an event that hasn't happened. So it does when an upstream breaks off, which leaves a body without its
//! end that nobody takes for a whole one.

use std::{
    fmt,
    io::Write,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http_body::{Body, Frame};
use tokio::sync::OwnedSemaphorePermit;

use crate::http::body::BodyError;

/// The most that is coded before others of the thread get their turn, in bytes.
pub(super) const PIECE: usize = 16 * 1024;

/// From here on what has come out is handed on, in bytes.
const ENOUGH: usize = 8 * 1024;

/// The effort, of 9. From the next on it takes twice the time to be 2 % better.
const LEVEL: u32 = 5;

/// What makes of an answer's body the one the visitor gets. About 350 KiB of memory, freed with the last byte.
pub(crate) struct Squeeze<E = BodyError> {
    /// `None` once the body has ended.
    coder: Option<Box<GzEncoder<Vec<u8>>>>,
    /// What the upstream said and the coder hasn't got yet.
    input: Bytes,
    /// Something was coded since the last flush.
    is_unflushed: bool,
    /// What comes after the body.
    trailers: Option<Frame<Bytes>>,
    /// How the upstream broke off, told when all that came before is out.
    broken: Option<E>,
    place: Option<OwnedSemaphorePermit>,
}

impl<E> Squeeze<E> {
    pub(super) fn new(place: OwnedSemaphorePermit) -> Self {
        Self {
            coder: Some(Box::new(GzEncoder::new(Vec::new(), Compression::new(LEVEL)))),
            input: Bytes::new(),
            is_unflushed: false,
            trailers: None,
            broken: None,
            place: Some(place),
        }
    }

    /// Whether there is nothing more to come.
    pub(crate) fn is_end_stream(&self) -> bool {
        self.coder.is_none() && self.trailers.is_none()
    }

    /// The next frame of `body`, coded. As [`Body::poll_frame`].
    pub(crate) fn poll_frame<B>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>>
    where
        B: Body<Data = Bytes, Error = E>,
    {
        let mut coded = 0;
        loop {
            let Some(coder) = &mut self.coder else { return Poll::Ready(self.trailers.take().map(Ok)) };
            if coder.get_ref().len() >= ENOUGH {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(coder.get_mut()).into()))));
            }
            if coded >= PIECE {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !self.input.is_empty() {
                let piece = self.input.split_to(self.input.len().min(PIECE - coded));
                coded += piece.len();
                coder.write_all(&piece).expect(IN_MEMORY);
                self.is_unflushed = true;
                continue;
            }
            if let Some(broken) = self.broken.take() {
                return Poll::Ready(Some(Err(broken)));
            }
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.input = data,
                    Err(trailers) => {
                        self.trailers = Some(trailers);
                        return self.finish();
                    }
                },
                Poll::Ready(None) => return self.finish(),
                Poll::Ready(Some(Err(error))) if self.is_unflushed => {
                    self.broken = Some(error);
                    return Poll::Ready(Some(Ok(flush(coder, &mut self.is_unflushed))));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Pending if self.is_unflushed => {
                    return Poll::Ready(Some(Ok(flush(coder, &mut self.is_unflushed))));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn finish(&mut self) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        self.place = None;
        let last = self.coder.take().map(|coder| coder.finish().expect(IN_MEMORY));
        Poll::Ready(last.map(|last| Ok(Frame::data(last.into()))))
    }
}

/// All that went in so far, coded.
fn flush(coder: &mut GzEncoder<Vec<u8>>, is_unflushed: &mut bool) -> Frame<Bytes> {
    coder.flush().expect(IN_MEMORY);
    *is_unflushed = false;
    Frame::data(std::mem::take(coder.get_mut()).into())
}

const IN_MEMORY: &str = "invariant: writing to a vector can't fail";

/// Shows how much, never what.
impl<E> fmt::Debug for Squeeze<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Squeeze").field("input", &self.input.len()).finish_non_exhaustive()
    }
}
