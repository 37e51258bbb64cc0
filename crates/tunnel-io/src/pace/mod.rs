//! A limit on bytes per second that many streams share, and share fairly.
//!
//! Each stream asks for a small grant at a time and is told when it is its turn; turns are given in the order they
//! were asked for. So a stream that moves gigabytes and one that wants a line take turns, and who waits holds up
//! nobody but its own peer.

mod bucket;
mod paced;

pub use self::{bucket::Bucket, paced::Paced};

/// A limit each way, for all streams of one owner together. Which way is which is the streams' business.
#[derive(Debug)]
pub struct Pace {
    /// What is read from the streams.
    pub read: Bucket,
    /// What is written to them.
    pub written: Bucket,
}

impl Pace {
    /// The same limit each way, in bytes per second; 0 for none.
    #[must_use]
    pub const fn new(bytes_per_second: u64) -> Self {
        Self { read: Bucket::new(bytes_per_second), written: Bucket::new(bytes_per_second) }
    }

    /// Sets both limits, in bytes per second; 0 for none.
    pub fn set(&self, bytes_per_second: u64) {
        self.read.set(bytes_per_second);
        self.written.set(bytes_per_second);
    }
}
