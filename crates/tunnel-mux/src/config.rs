//! What one lane may use, because every number here is multiplied by the lanes a server holds.

use crate::{Budget, ConfigError};

/// Highest [`Config::max_streams`]. Each open looks at every live stream, so a lane with more is
/// slower than two lanes.
pub const MAX_STREAMS: usize = 4096;
/// Highest [`Config::window_headroom`], in bytes: the total still fits 32-bit arithmetic.
pub const MAX_WINDOW_HEADROOM: usize = 1 << 30;
/// Lowest [`Config::frame_size`], in bytes: below it headers and wake-ups outweigh the payload.
pub const MIN_FRAME_SIZE: usize = 1 << 10;
/// Highest [`Config::frame_size`], in bytes: the window a stream starts with.
pub const MAX_FRAME_SIZE: usize = STREAM_WINDOW;
/// Highest [`Config::accept_queue`].
pub const MAX_ACCEPT_QUEUE: usize = 65_536;

/// The receive window each stream starts with, fixed by the yamux specification.
const STREAM_WINDOW: usize = 256 << 10;

/// Limits of one lane.
///
/// Worst-case memory of one end, against a peer that fills every window and is never read:
/// `(2 × max_streams + 64) × 256 KiB + window_headroom`, unless `receive_budget` says less. Streams
/// at rest hold no buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Live streams, opened by either end, above which [`Opener::open`](crate::Opener::open)
    /// refuses. Default 1024, 1 to [`MAX_STREAMS`].
    ///
    /// Streams the peer opens are admitted to about twice this number, since it counts its own
    /// live streams and may drop one before we do; above that each new one is reset.
    pub max_streams: usize,
    /// Bytes by which all receive windows of the lane together may outgrow 256 KiB each, for fast
    /// streams over long paths. Default 64 MiB, at most [`MAX_WINDOW_HEADROOM`].
    pub window_headroom: usize,
    /// Largest payload of one frame, in bytes. Default 32 KiB, [`MIN_FRAME_SIZE`] to
    /// [`MAX_FRAME_SIZE`].
    ///
    /// Larger frames cost less CPU; but frames take turns, so one busy stream delays the others by
    /// a frame each, and a blocked stream holds about eleven of them in memory (of 4 KiB each once
    /// all streams of the lane hold 4 MiB).
    pub frame_size: usize,
    /// Streams opened by the peer that may wait for [`Incoming::accept`](crate::Incoming::accept);
    /// with a full queue the next one is reset. Default 512, 1 to [`MAX_ACCEPT_QUEUE`].
    ///
    /// A yamux peer leaves at most 256 streams unanswered, so fewer than that refuses bursts.
    pub accept_queue: usize,
    /// What received bytes count against until they are read, in bytes, together with every other
    /// lane that has a clone of it. Default none: bounded by the windows alone, and not counted.
    ///
    /// Worst case for all lanes together: see [`Budget`].
    pub receive_budget: Option<Budget>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_streams: 1024,
            window_headroom: 64 << 20,
            frame_size: 32 << 10,
            accept_queue: 512,
            receive_budget: None,
        }
    }
}

impl Config {
    /// Checks every field against its documented bounds. A lane made from a config that was not
    /// checked takes the nearest bound.
    ///
    /// # Errors
    /// The first field out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (field, value, min, max) in self.bounds() {
            if !(min..=max).contains(&value) {
                return Err(ConfigError::OutOfBounds { field, value, min, max });
            }
        }
        Ok(())
    }

    /// The same limits, each within its bounds.
    pub(crate) fn clamped(&self) -> Self {
        let [max_streams, window_headroom, frame_size, accept_queue] =
            self.bounds().map(|(_, value, min, max)| value.clamp(min, max));
        Self {
            max_streams,
            window_headroom,
            frame_size,
            accept_queue,
            receive_budget: self.receive_budget.clone(),
        }
    }

    /// Streams yamux may hold. Over its own limit it ends the session, so the limit is far above
    /// `max_streams` and guarded by us: a stream we let go of stays with yamux until it gets to it.
    pub(crate) fn held_limit(&self) -> usize {
        2 * self.max_streams + 64
    }

    /// Bytes all receive windows of the lane may add up to.
    pub(crate) fn total_window(&self) -> usize {
        self.held_limit() * STREAM_WINDOW + self.window_headroom
    }

    fn bounds(&self) -> [(&'static str, usize, usize, usize); 4] {
        [
            ("max_streams", self.max_streams, 1, MAX_STREAMS),
            ("window_headroom", self.window_headroom, 0, MAX_WINDOW_HEADROOM),
            ("frame_size", self.frame_size, MIN_FRAME_SIZE, MAX_FRAME_SIZE),
            ("accept_queue", self.accept_queue, 1, MAX_ACCEPT_QUEUE),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn a_field_out_of_bounds_is_named_and_clamped() {
        let config = Config { frame_size: 10, ..Config::default() };
        let Err(ConfigError::OutOfBounds { field, min, .. }) = config.validate() else {
            panic!("a frame size of 10 was accepted");
        };
        assert_eq!((field, min), ("frame_size", MIN_FRAME_SIZE));
        assert_eq!(config.clamped().validate(), Ok(()));
    }

    #[test]
    fn the_largest_window_fits_32_bits() {
        let config = Config {
            max_streams: usize::MAX,
            window_headroom: usize::MAX,
            frame_size: usize::MAX,
            accept_queue: usize::MAX,
            ..Config::default()
        };
        assert!(u32::try_from(config.clamped().total_window()).is_ok());
    }
}
