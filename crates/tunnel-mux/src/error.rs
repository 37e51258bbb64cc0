//! How a lane or a stream fails. Callers act on the difference between "this stream" and "the
//! whole lane", so the two never share a kind.

use std::io;

/// Why a [`Config`](crate::Config) is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number outside its documented bounds.
    #[error("{field} is {value}, but must be from {min} to {max}")]
    OutOfBounds {
        /// The field of [`Config`](crate::Config).
        field: &'static str,
        /// What it was set to.
        value: usize,
        /// The lowest it may be.
        min: usize,
        /// The highest it may be.
        max: usize,
    },
}

/// Why a stream could not be opened.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// All of the lane's places for streams are taken; another lane, or a later try, may do.
    #[error("the lane carries as many streams as it may")]
    Full,
    /// The lane is gone or has no stream ids left: it never opens another stream.
    #[error("the lane is closed")]
    Closed,
}

/// Why a lane ended, as its [`Driver`](crate::Driver) reports it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaneError {
    /// The socket failed, or ended in the middle of a frame.
    #[error("the lane's socket failed")]
    Io(#[source] io::Error),
    /// The peer sent something yamux forbids.
    #[error("the peer broke the yamux protocol: {0}")]
    Protocol(String),
    /// The peer ended the lane, saying that we or it failed.
    #[error("the peer ended the lane with GoAway code {0}")]
    GoAway(u32),
    /// The peer asks for answers faster than it reads them.
    #[error("the peer asks without reading the answers")]
    Flooded,
}

/// Whether a stream failed because its whole lane did, so that the same request may be tried on
/// another lane. A reset by the peer, and any error that is not a stream's, is `false`.
#[must_use]
pub fn is_lane_lost(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<LaneLost>())
}

/// Whether a stream failed because it held bytes nobody read while the server's
/// [`Budget`](crate::Budget) was short.
#[must_use]
pub fn is_shed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Shed>())
}

/// The error of a stream whose lane is gone.
pub(crate) fn lane_lost() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, LaneLost)
}

/// The error of a stream the peer reset.
pub(crate) fn reset_by_peer() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the peer reset the stream")
}

/// The error of a stream we gave up because nobody read it.
pub(crate) fn shed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, Shed)
}

#[derive(Debug, thiserror::Error)]
#[error("the lane carrying this stream is gone")]
struct LaneLost;

#[derive(Debug, thiserror::Error)]
#[error("the stream was not read, and the receive budget is short")]
struct Shed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_lane_is_a_lost_lane() {
        assert!(is_lane_lost(&lane_lost()));
        assert!(!is_lane_lost(&reset_by_peer()));
        assert!(!is_lane_lost(&io::ErrorKind::ConnectionAborted.into()), "a socket's own abort");
        assert!(!is_lane_lost(&shed()));
    }

    #[test]
    fn only_a_shed_stream_is_a_shed_stream() {
        assert!(is_shed(&shed()));
        assert!(!is_shed(&reset_by_peer()) && !is_shed(&lane_lost()));
    }
}
