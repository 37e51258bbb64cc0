//! Takes chunks apart (RFC 9112 §7.1), with the tolerance of browsers: blanks behind a size, extensions of any kind,
//! lines that end in LF alone. Nobody else reads an upstream's, so there is no second reading to be afraid of; a
//! visitor's have passed the strict reader before.

use std::io;

use ::http::HeaderMap;
use bytes::{Buf, Bytes};

use super::fields;

/// The most bytes of extensions in one body.
const MAX_EXTENSIONS: usize = 16 * 1024;

/// The most bytes of trailers.
const MAX_TRAILERS: usize = 16 * 1024;

/// A chunked body under way.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: State,
    /// Bytes of extensions so far.
    extensions: usize,
    /// The trailers so far, the empty line included.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Before a size.
    #[default]
    Start,
    /// In a size, or behind it, which is so far this.
    Size(u64),
    Blank(u64),
    Extension(u64),
    SizeLf(u64),
    /// In the data, with so much to come.
    Data(u64),
    DataCr,
    DataLf,
    /// At the begin of a line behind the last chunk.
    Line,
    Trailer,
    TrailerLf,
    EndLf,
}

/// What comes next of a body.
#[derive(Debug)]
pub(super) enum Step {
    /// All that came was taken in.
    More,
    Data(Bytes),
    /// The end, and the trailers if there are any.
    End(Option<HeaderMap>),
}

impl Chunks {
    /// Takes the next step through `from`.
    ///
    /// # Errors
    /// [`InvalidData`](io::ErrorKind::InvalidData) for what is no chunk.
    pub(super) fn advance(&mut self, from: &mut Bytes) -> io::Result<Step> {
        while !from.is_empty() {
            if let State::Data(left) = self.state {
                let length = usize::try_from(left).map_or(from.len(), |left| left.min(from.len()));
                let left = left - length as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                return Ok(Step::Data(from.split_to(length)));
            }
            let byte = from.get_u8();
            if let (State::EndLf | State::Line, b'\n') = (self.state, byte) {
                return self.end().map(Step::End);
            }
            self.state = self.step(byte).ok_or(io::ErrorKind::InvalidData)?;
        }
        Ok(Step::More)
    }

    /// The state after a byte outside of data; `None` if it doesn't belong there.
    fn step(&mut self, byte: u8) -> Option<State> {
        Some(match (self.state, byte) {
            (State::Start, _) => State::Size(digit(byte)?),
            (State::Size(size) | State::Blank(size) | State::Extension(size), b'\r') => State::SizeLf(size),
            (State::Size(0) | State::Blank(0) | State::Extension(0) | State::SizeLf(0), b'\n') => State::Line,
            (
                State::Size(size) | State::Blank(size) | State::Extension(size) | State::SizeLf(size),
                b'\n',
            ) => State::Data(size),
            (State::Size(size) | State::Blank(size), b';') => State::Extension(size),
            (State::Size(size) | State::Blank(size), b'\t' | b' ') => State::Blank(size),
            (State::Size(size), _) => State::Size(size.checked_mul(16)? | digit(byte)?),
            (State::Extension(size), _) => {
                self.extensions += 1;
                (self.extensions < MAX_EXTENSIONS).then_some(State::Extension(size))?
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataCr | State::DataLf, b'\n') => State::Start,
            (State::Line | State::Trailer | State::TrailerLf, _) => self.trail(byte)?,
            _ => return None,
        })
    }

    fn trail(&mut self, byte: u8) -> Option<State> {
        let next = match (self.state, byte) {
            (State::Line, b'\r') => return Some(State::EndLf),
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::Trailer | State::TrailerLf, b'\n') => State::Line,
            (State::Line | State::Trailer, _) => State::Trailer,
            _ => return None,
        };
        self.trailers.push(byte);
        (self.trailers.len() < MAX_TRAILERS).then_some(next)
    }

    fn end(&mut self) -> io::Result<Option<HeaderMap>> {
        if self.trailers.is_empty() {
            return Ok(None);
        }
        self.trailers.extend_from_slice(b"\r\n");
        let bytes = Bytes::from(std::mem::take(&mut self.trailers));
        let mut room = [httparse::EMPTY_HEADER; fields::MAX];
        let parsed = httparse::parse_headers(&bytes, &mut room);
        let Ok(httparse::Status::Complete((_, found))) = parsed else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        fields::map(&bytes, fields::parsed(found), 0).map(Some).map_err(io::Error::other)
    }
}

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}
