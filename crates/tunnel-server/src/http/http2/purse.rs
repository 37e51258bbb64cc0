//! What frames that ask for nothing but attention are paid from: a purse that fills with time, and with what the peer
//! is sent. Programs that answer every DATA frame with two WINDOW_UPDATEs and a PING are no flood.

use std::{convert::Infallible, time::Duration};

use tokio::time::Instant;

use super::frames::{Follower, Frame, Kind};

/// Frames without purpose: how many at once, how many a second, how many for each HEADERS or DATA frame that the peer was
/// sent, and one more for so many bytes of it. Some say twice for each 4 KiB that they have room again (Go's `net/http`).
pub(super) const TALK: Purse = Purse { most: 1000, rate: 100 };
const TALK_PER_ANSWER: u32 = 4;
const BYTES_PER_TALK: usize = 1024;

/// What a kind of frame may be spent on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purse {
    pub(super) most: u32,
    pub(super) rate: u32,
}

#[derive(Debug)]
pub(super) struct Budget {
    purse: Purse,
    left: u32,
    filled: Instant,
}

/// The peer floods us.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("too many frames that ask for nothing")]
pub(in crate::http) struct Flood;

/// What passes between us and an upstream. It resets nothing that is dear and begins no streams, but all its heads but
/// one for each request are interim answers or trailers: heads cost as the rest does.
#[derive(Debug)]
pub(super) struct UpstreamTalk {
    heard: Follower,
    said: Follower,
    budget: Budget,
}

/// Whether a frame is part of a message, or the answer to a frame of ours.
pub(super) fn is_free(frame: Frame) -> bool {
    match frame.kind {
        Kind::Headers => true,
        Kind::Data => frame.length > 0 || frame.has_first_flag(),
        Kind::Settings | Kind::Ping => frame.has_first_flag(),
        Kind::Reset | Kind::Continuation | Kind::Other => false,
    }
}

impl Budget {
    pub(super) fn new(purse: Purse) -> Self {
        Self { purse, left: purse.most, filled: Instant::now() }
    }

    pub(super) fn pay(&mut self) -> Result<(), Flood> {
        if self.left == 0 {
            self.fill();
        }
        self.left = self.left.checked_sub(1).ok_or(Flood)?;
        Ok(())
    }

    /// Fills by what the peer was sent.
    pub(super) fn earn_by(&mut self, frame: Frame) {
        let by_length = u32::try_from(frame.length / BYTES_PER_TALK).unwrap_or(u32::MAX);
        match frame.kind {
            Kind::Headers => self.earn(TALK_PER_ANSWER),
            Kind::Data => self.earn(TALK_PER_ANSWER.saturating_add(by_length)),
            _ => {}
        }
    }

    pub(super) fn earn(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(self.purse.most);
    }

    /// Looks at the clock only when there is nothing left.
    fn fill(&mut self) {
        let passed = self.filled.elapsed().min(Duration::from_secs(3600));
        let earned = passed.as_millis() * u128::from(self.purse.rate) / 1000;
        if let Ok(earned @ 1..) = u32::try_from(earned) {
            self.filled = Instant::now();
            self.earn(earned);
        }
    }
}

impl UpstreamTalk {
    pub(super) fn new() -> Self {
        Self { heard: Follower::of_server(), said: Follower::of_visitor(), budget: Budget::new(TALK) }
    }

    pub(super) fn hear(&mut self, bytes: &[u8]) -> Result<(), Flood> {
        let Self { heard, budget, .. } = self;
        heard.advance(bytes, |frame| {
            if is_free(frame) && frame.kind != Kind::Headers { Ok(()) } else { budget.pay() }
        })
    }

    pub(super) fn say(&mut self, bytes: &[u8]) {
        let Self { said, budget, .. } = self;
        let Ok(()) = said.advance::<Infallible>(bytes, |frame| {
            budget.earn_by(frame);
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reads_in_small_pieces_may_say_so_each_time() {
        let mut budget = Budget::new(TALK);
        for length in [16 << 10, 64 << 10].repeat(1000) {
            budget.earn_by(Frame { kind: Kind::Data, flags: 0, length });
            for _ in 0..2 * length / (4 << 10) {
                budget.pay().unwrap();
            }
        }
    }
}
