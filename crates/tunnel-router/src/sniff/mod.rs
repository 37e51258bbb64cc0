//! Readers of what a visitor sends first. Each is given the bytes that have arrived so far, and either
//! finds what it looks for, says why this is something else, or asks for more.
//!
//! All of them give the same verdict however the bytes were split on the way, look at each byte once,
//! and have a bound after which they ask for no more.

mod line;

pub mod http1;

pub mod chunked;

pub mod tls;

/// What a reader makes of the bytes so far.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Sniff<T, E> {
    /// It is there, whole.
    Found(T),
    /// It isn't, or not in a form we accept, and more bytes won't change that.
    NotThis(E),
    /// Undecided. Call again with these bytes and those that follow.
    NeedMore,
}

impl<T, E> Sniff<T, E> {
    /// The verdict, `None` while undecided.
    pub fn verdict(self) -> Option<Result<T, E>> {
        match self {
            Self::Found(found) => Some(Ok(found)),
            Self::NotThis(error) => Some(Err(error)),
            Self::NeedMore => None,
        }
    }
}
