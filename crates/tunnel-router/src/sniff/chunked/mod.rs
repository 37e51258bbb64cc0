//! Finds where a chunked request body ends, so that the next head on the connection is looked for in
//! the right place and nowhere else. Follows the bytes without keeping or changing them (RFC 9112 §7.1,
//! less its tolerances: no blanks around sizes, no bare line feeds).

mod trailer;

pub use self::trailer::{MAX_TRAILER_BYTES, MAX_TRAILER_FIELDS, may_trail};

use self::trailer::Trailer;

/// Most bytes after a chunk's size on its line. Extensions have no use in practice but as padding.
pub const MAX_EXTENSION_BYTES: usize = 256;
/// Most bytes of extensions in one body, as hyper has it: without it, a body could be nothing but.
pub const MAX_EXTENSIONS_TOTAL: usize = 16 * 1024;
/// Hexadecimal digits of 64 bits; more would be zeros in front, or an overflow.
const MAX_SIZE_DIGITS: u8 = 16;

/// Follows one chunked body. Feed it every byte after the head, each once and in order.
#[derive(Debug)]
pub struct ChunkedBody {
    state: State,
    extensions: usize,
}

/// How far one [`ChunkedBody::advance`] got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that belong to the body: all of them, unless it is done.
    pub consumed: usize,
    /// Whether the body is over. What follows `consumed` is the next head.
    pub done: bool,
}

/// Why a body is refused. After any of these the connection has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// Not 1 to 16 hexadecimal digits, followed by CRLF or `;`.
    #[error("a chunk size is not 1 to 16 hexadecimal digits")]
    Size,
    /// An extension over [`MAX_EXTENSION_BYTES`], or together over [`MAX_EXTENSIONS_TOTAL`].
    #[error("the chunk extensions are too long")]
    ExtensionTooLong,
    /// A control byte or anything but ASCII in an extension.
    #[error("a chunk extension holds a control byte or something other than ASCII")]
    Extension,
    /// Anything but CRLF at the end of a chunk's size line, its data, or a trailer line.
    #[error("a line of the chunked body does not end in CRLF")]
    LineEnd,
    /// A trailer line that is no field.
    #[error("a trailer line is not a field")]
    TrailerField,
    /// A trailer that routes, frames or authorises a request (RFC 9110 §6.5.1).
    #[error("a trailer field is one that only a head may have")]
    ForbiddenTrailer,
    /// Over [`MAX_TRAILER_BYTES`] or [`MAX_TRAILER_FIELDS`].
    #[error("the trailers are too large")]
    TrailerTooLarge,
}

#[derive(Debug)]
enum State {
    /// In a size, `digits` of it read.
    Size { digits: u8, size: u64 },
    /// In an extension, `len` bytes of it read.
    Extension { len: usize, size: u64 },
    /// Before the LF of a size line.
    SizeLf { size: u64 },
    /// In a chunk's data, with this much to come; never 0.
    Data { left: u64 },
    /// Before the CR that ends the data.
    DataCr,
    /// Before the LF that ends the data.
    DataLf,
    /// After the last chunk.
    Trailer(Trailer),
    /// Over.
    Done,
    /// Refused, and so is whatever comes.
    Failed(ChunkError),
}

impl ChunkedBody {
    /// At the first byte of a body.
    pub fn new() -> Self {
        Self { state: State::START, extensions: 0 }
    }

    /// Follows the body through `input`. Chunk data costs nothing per byte.
    ///
    /// # Errors
    /// [`ChunkError`] for a body that two parsers could end at different bytes. It is final: every
    /// later call fails likewise.
    pub fn advance(&mut self, input: &[u8]) -> Result<Progress, ChunkError> {
        let mut rest = input;
        while !matches!(self.state, State::Done)
            && let [byte, after @ ..] = rest
        {
            if let State::Data { left } = self.state {
                let (state, skip) = skip_data(left, rest.len());
                self.state = state;
                rest = &rest[skip..];
                continue;
            }
            match self.step(*byte) {
                Ok(None) => {}
                Ok(Some(next)) => self.state = next,
                Err(error) => {
                    self.state = State::Failed(error);
                    return Err(error);
                }
            }
            rest = after;
        }
        match self.state {
            State::Failed(error) => Err(error),
            _ => Ok(Progress { consumed: input.len() - rest.len(), done: matches!(self.state, State::Done) }),
        }
    }

    /// Takes one byte outside of chunk data; `None` when the state goes on.
    fn step(&mut self, byte: u8) -> Result<Option<State>, ChunkError> {
        Ok(Some(match (&mut self.state, byte) {
            (State::Size { digits: 1.., size }, b'\r') => State::SizeLf { size: *size },
            (State::Size { digits: 1.., size }, b';') => State::Extension { len: 0, size: *size },
            (State::Size { digits, size }, _) => {
                let digit = hex_value(byte).filter(|_| *digits < MAX_SIZE_DIGITS).ok_or(ChunkError::Size)?;
                State::Size { digits: *digits + 1, size: *size << 4 | digit }
            }
            (State::Extension { size, .. }, b'\r') => State::SizeLf { size: *size },
            (State::Extension { len, .. }, _) => {
                *len += 1;
                self.extensions += 1;
                if *len > MAX_EXTENSION_BYTES || self.extensions > MAX_EXTENSIONS_TOTAL {
                    return Err(ChunkError::ExtensionTooLong);
                }
                match byte {
                    b'\t' | b' '..=b'~' => return Ok(None),
                    b'\n' => return Err(ChunkError::LineEnd),
                    _ => return Err(ChunkError::Extension),
                }
            }
            (State::SizeLf { size: 0 }, b'\n') => State::Trailer(Trailer::default()),
            (State::SizeLf { size }, b'\n') => State::Data { left: *size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::START,
            (State::SizeLf { .. } | State::DataCr | State::DataLf, _) => return Err(ChunkError::LineEnd),
            (State::Trailer(trailer), _) => match trailer.push(byte)? {
                true => State::Done,
                false => return Ok(None),
            },
            (State::Failed(error), _) => return Err(*error),
            (State::Data { .. } | State::Done, _) => return Ok(None),
        }))
    }
}

impl Default for ChunkedBody {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    const START: Self = Self::Size { digits: 0, size: 0 };
}

/// The state after as much of `left` as `available` holds, and how much that is.
fn skip_data(left: u64, available: usize) -> (State, usize) {
    match usize::try_from(left) {
        Ok(left) if left <= available => (State::DataCr, left),
        // `left` is the larger, so the difference is positive.
        _ => (State::Data { left: left - available as u64 }, available),
    }
}

fn hex_value(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

#[cfg(test)]
mod tests;
