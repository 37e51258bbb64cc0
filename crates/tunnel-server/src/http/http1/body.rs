//! A request's body as it comes in.

use std::{
    fmt, io, mem,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tunnel_router::{ChunkError, ChunkedBody, Framing, Progress};

use super::{
    chunks::{Chunks, Step},
    linger,
    wire::{Rest, Wire},
};

/// The most of a body that is handed on at once, in bytes.
const PIECE: usize = 64 * 1024;

/// A request's body. Dropped before its end, it leaves the rest to who serves the connection.
pub(in crate::http) struct Body {
    wire: Wire,
    follower: Follower,
    /// What came of chunks and wasn't handed on.
    came: Bytes,
    /// The visitor waits for a 100.
    is_awaited: bool,
    state: State,
}

/// How it is with the rest of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The visitor wasn't asked, and may not send anything.
    Doubtful,
    Coming,
    /// It broke off, or nobody can say where it ends.
    Broken,
    /// There is none.
    Over,
}

/// Follows a body to its end.
#[derive(Debug)]
pub(super) enum Follower {
    /// So many bytes are left.
    Length(u64),
    Chunked(Box<Chunked>),
}

/// Chunks, read twice: where they end only the strict reader says, and then there is no doubt what is in them.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    ends: ChunkedBody,
    chunks: Chunks,
}

impl Follower {
    /// `None` without a body.
    pub(super) fn new(framing: Framing) -> Option<Self> {
        match framing {
            Framing::None | Framing::Length(0) => None,
            Framing::Length(length) => Some(Self::Length(length)),
            Framing::Chunked => Some(Self::Chunked(Box::default())),
        }
    }

    /// Takes what comes next.
    ///
    /// # Errors
    /// For what is no chunk.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Progress, ChunkError> {
        match self {
            Self::Length(left) => {
                let consumed = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= consumed as u64;
                Ok(Progress { consumed, done: *left == 0 })
            }
            Self::Chunked(chunked) => chunked.ends.advance(bytes),
        }
    }

    /// How many bytes are left, if that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(_) => None,
        }
    }

    /// Whether the rest may be short enough to be read for the sake of what follows.
    pub(super) fn may_end_soon(&self) -> bool {
        self.left().is_none_or(|left| left <= linger::MOST as u64)
    }
}

impl Body {
    pub(super) fn new(wire: Wire, follower: Follower, is_awaited: bool) -> Self {
        let state = if is_awaited { State::Doubtful } else { State::Coming };
        Self { wire, follower, came: Bytes::new(), is_awaited, state }
    }

    /// The next piece. A visitor that waits to be asked for it is asked now.
    pub(in crate::http) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.state == State::Over {
            return Poll::Ready(None);
        }
        if self.is_awaited {
            self.state = if self.wire.ask(cx) { State::Coming } else { State::Doubtful };
            self.is_awaited = false;
        }
        match ready!(self.poll_next(cx)) {
            Ok((frame, is_over)) => {
                self.state = if is_over { State::Over } else { State::Coming };
                if is_over {
                    self.wire.set_rest(Rest::Over, Some(cx));
                }
                Poll::Ready(frame.map(Ok))
            }
            Err(error) => {
                self.state = State::Broken;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    /// The next piece, and whether it was the last.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Option<Frame<Bytes>>, bool)>> {
        match &mut self.follower {
            Follower::Length(left) => {
                let most = usize::try_from(*left).map_or(PIECE, |left| left.min(PIECE));
                let piece = ready!(self.wire.poll_piece(cx, most))?;
                if piece.is_empty() {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                *left -= piece.len() as u64;
                Poll::Ready(Ok((Some(Frame::data(piece)), *left == 0)))
            }
            Follower::Chunked(chunked) => loop {
                if self.came.is_empty() {
                    let mut piece = ready!(self.wire.poll_piece(cx, PIECE))?;
                    if piece.is_empty() {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    let progress = chunked.ends.advance(&piece).map_err(invalid)?;
                    let beyond = piece.split_off(progress.consumed);
                    if !beyond.is_empty() {
                        self.wire.put_back(&beyond);
                    }
                    self.came = piece;
                }
                match chunked.chunks.advance(&mut self.came)? {
                    Step::More => {}
                    Step::Data(data) => return Poll::Ready(Ok((Some(Frame::data(data)), false))),
                    Step::End(trailers) => return Poll::Ready(Ok((trailers.map(Frame::trailers), true))),
                }
            },
        }
    }

    pub(in crate::http) fn is_end_stream(&self) -> bool {
        self.state == State::Over
    }

    pub(in crate::http) fn size_hint(&self) -> SizeHint {
        match self.follower {
            Follower::Length(left) => SizeHint::with_exact(left),
            Follower::Chunked(_) => SizeHint::default(),
        }
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Drop for Body {
    fn drop(&mut self) {
        let is_known = match self.state {
            State::Over => return,
            // What was taken and not handed on is missing from the rest: whatever took it broke off.
            State::Coming => self.came.is_empty(),
            State::Doubtful => self.wire.has_more(),
            State::Broken => false,
        };
        let follower = mem::replace(&mut self.follower, Follower::Length(0));
        self.wire.set_rest(if is_known { Rest::Unwanted(follower) } else { Rest::Unknown }, None);
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("follower", &self.follower).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
