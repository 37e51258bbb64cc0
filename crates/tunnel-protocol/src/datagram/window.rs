//! How much of a flow may be under way: what the path carries in a round trip and a moment more.
//!
//! Measured by delay, since nothing is ever lost below: what a receipt takes longer than the fastest one did lately
//! is the time that bytes waited in buffers. While that stays short the window grows when it is used up; when it is
//! long, the window becomes what would have waited half as long as is allowed. Now and then it shrinks for a round trip
//! to what needs no buffer: or a wait that never ends would come to be taken for the length of the path.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::FlowError;

/// How long bytes may wait in the buffers between two peers before less is sent.
const QUEUEING_MAX: Duration = Duration::from_millis(50);

/// Small enough to wait less than a tenth of a second at 1 Mbit/s, large enough for what is taken without a receipt.
const SIZE_MIN: u64 = 8 * 1024;
/// Before anything is known of the path: 50 ms at 10 Mbit/s.
const SIZE_FIRST: u64 = 64 * 1024;
/// 1 Gbit/s for 0.13 s.
const SIZE_MAX: u64 = 16 << 20;

/// Sends within this time count as one.
const MARK_EVERY: Duration = Duration::from_millis(4);
const MARKS_MAX: usize = 64;

/// The fastest receipt is forgotten after once to twice this time: paths change.
const FASTEST_KEPT: Duration = Duration::from_secs(10);

/// What is sent and not yet taken, and how much of it there may be.
#[derive(Debug)]
pub(super) struct Window {
    size: u64,
    sent: u64,
    taken: u64,
    marks: VecDeque<Mark>,
    fastest: Fastest,
    /// Whether sending had to wait for a receipt since the last one.
    used_up: bool,
    /// Until the window was too large for the first time, it doubles by the round trip.
    searching: bool,
    /// What was sent up to here was sent by a window of another size.
    resized_at: u64,
    /// The size to return to after a look at the path with empty buffers.
    looking: Option<u64>,
}

/// What was sent at one time.
#[derive(Debug)]
struct Mark {
    end: u64,
    at: Instant,
    /// What was under way then.
    under_way: u64,
}

impl Window {
    pub(super) fn new() -> Self {
        Self {
            size: SIZE_FIRST,
            sent: 0,
            taken: 0,
            marks: VecDeque::new(),
            fastest: Fastest::default(),
            used_up: false,
            searching: true,
            resized_at: 0,
            looking: None,
        }
    }

    /// Whether a datagram may be sent now. The last one may exceed the window, however long it is.
    pub(super) fn is_open(&mut self) -> bool {
        let open = self.sent - self.taken < self.size;
        self.used_up |= !open;
        open
    }

    /// Counts bytes as sent.
    pub(super) fn sent(&mut self, bytes: u64, now: Instant) {
        self.sent += bytes;
        let under_way = self.sent - self.taken;
        let recent = |last: &Mark| now.saturating_duration_since(last.at) < MARK_EVERY;
        if self.marks.len() < MARKS_MAX && !self.marks.back().is_some_and(recent) {
            self.marks.push_back(Mark { end: self.sent, at: now, under_way });
        } else if let Some(last) = self.marks.back_mut() {
            (last.end, last.under_way) = (self.sent, under_way);
        }
    }

    /// The peer has taken `total` bytes so far.
    pub(super) fn receipt(&mut self, total: u64, now: Instant) -> Result<(), FlowError> {
        if total < self.taken || total > self.sent {
            return Err(FlowError::Receipt);
        }
        let newly = total - self.taken;
        if newly == 0 {
            // Says nothing of how long anything took.
            return Ok(());
        }
        self.taken = total;
        while self.marks.front().is_some_and(|mark| mark.end < total) {
            self.marks.pop_front();
        }
        // The receipt was sent when the byte before `total` was taken, and that byte was sent at this mark.
        if let Some(Mark { at, under_way, .. }) = self.marks.front() {
            let (took, under_way) = (now.saturating_duration_since(*at), *under_way);
            let (fastest, look_again) = self.fastest.note(took, now);
            self.adapt(newly, under_way, took, fastest);
            if look_again {
                self.look(fastest);
            }
        }
        self.used_up = false;
        if self.sent == self.taken {
            // An idle flow keeps no memory.
            self.marks = VecDeque::new();
        }
        Ok(())
    }

    /// Changes the size by what a receipt for `newly` bytes says.
    fn adapt(&mut self, newly: u64, under_way: u64, took: Duration, fastest: Duration) {
        let by_present_size = self.taken > self.resized_at;
        if by_present_size && let Some(size) = self.looking.take() {
            self.resize(size);
            return;
        }
        let waited = took.saturating_sub(fastest);
        // A flow that had little under way can't shorten the wait by sending less.
        if waited > QUEUEING_MAX && by_present_size && under_way * 2 >= self.size {
            self.resize(scaled(under_way, fastest + QUEUEING_MAX / 2, took));
            self.searching = false;
        } else if waited <= QUEUEING_MAX / 2 && self.used_up && self.looking.is_none() {
            let more = if self.searching { newly } else { newly / 8 };
            self.size = (self.size + more).min(SIZE_MAX);
        }
    }

    /// Lets the buffers run empty.
    fn look(&mut self, fastest: Duration) {
        if self.looking.is_none() {
            let size = self.size;
            self.resize(scaled(size, fastest, fastest + QUEUEING_MAX));
            self.looking = Some(size);
        }
    }

    fn resize(&mut self, size: u64) {
        self.size = size.clamp(SIZE_MIN, SIZE_MAX);
        self.resized_at = self.sent;
    }
}

/// `bytes` × `part` / `whole`.
fn scaled(bytes: u64, part: Duration, whole: Duration) -> u64 {
    let scaled = u128::from(bytes) * part.as_micros() / whole.as_micros().max(1);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// The shortest time of the last ten to twenty seconds.
#[derive(Debug, Default)]
struct Fastest {
    now: Option<(Instant, Duration)>,
    before: Option<Duration>,
}

impl Fastest {
    /// The shortest time, this one included; and whether it is time to look for it again.
    fn note(&mut self, took: Duration, now: Instant) -> (Duration, bool) {
        let mut look_again = false;
        match &mut self.now {
            Some((since, fastest)) if now.saturating_duration_since(*since) < FASTEST_KEPT => {
                *fastest = took.min(*fastest);
            }
            current => {
                self.before = current.replace((now, took)).map(|(_, fastest)| fastest);
                look_again = self.before.is_some();
            }
        }
        let fastest = self.now.map_or(took, |(_, fastest)| fastest);
        (self.before.map_or(fastest, |before| before.min(fastest)), look_again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that carries `rate` bytes a second and takes `delay` there and back, fed as fast as the window allows;
    /// the longest wait in its buffer in the second half of `seconds`, and what got through in all.
    #[expect(clippy::cast_possible_truncation, reason = "whole bytes of a simulated path")]
    fn drive(rate: u64, delay: Duration, seconds: u64) -> (Duration, u64) {
        const FRAME: u64 = 1200;
        const TICK: Duration = Duration::from_micros(500);
        let start = Instant::now();
        let mut window = Window::new();
        let (mut through, mut worst) = (0.0, Duration::ZERO);
        let mut receipts: VecDeque<(Instant, u64)> = VecDeque::new();
        let ticks = seconds * 2000;
        for tick in 0..ticks {
            let now = start + TICK * u32::try_from(tick).unwrap();
            while receipts.front().is_some_and(|(at, _)| *at <= now) {
                let (_, total) = receipts.pop_front().unwrap();
                window.receipt(total, now).unwrap();
            }
            while window.is_open() {
                window.sent(FRAME, now);
            }
            let buffered = window.sent as f64 - through;
            if tick > ticks / 2 {
                worst = worst.max(Duration::from_secs_f64(buffered / rate as f64));
            }
            through += buffered.min(rate as f64 * TICK.as_secs_f64());
            receipts.push_back((now + delay, through as u64));
        }
        (worst, through as u64)
    }

    #[test]
    fn bytes_never_wait_long_and_the_path_is_used() {
        for (megabits, delay_ms) in [(1, 20), (10, 1), (10, 50), (20, 100), (100, 20), (1000, 10)] {
            let rate = megabits * 1_000_000 / 8;
            let (worst, through) = drive(rate, Duration::from_millis(delay_ms), 60);
            // A window has a least size, which takes its time on slow paths.
            let least = Duration::from_secs_f64(SIZE_MIN as f64 / rate as f64);
            let allowed = least + QUEUEING_MAX * 3 / 2;
            assert!(worst <= allowed, "{megabits} Mbit/s, {delay_ms} ms: {worst:?}");
            assert!(through > rate * 60 * 9 / 10, "{megabits} Mbit/s, {delay_ms} ms: {through}");
        }
    }

    #[test]
    fn receipts_that_lie_are_told() {
        let now = Instant::now();
        let mut window = Window::new();
        window.sent(100, now);
        assert_eq!(window.receipt(101, now), Err(FlowError::Receipt));
        assert_eq!(window.receipt(60, now), Ok(()));
        assert_eq!(window.receipt(59, now), Err(FlowError::Receipt));
        assert_eq!(window.receipt(100, now), Ok(()));
        assert_eq!(window.marks.capacity(), 0, "an idle flow keeps no memory");
    }

    #[test]
    fn a_receipt_is_timed_by_the_frame_it_is_about() {
        let start = Instant::now();
        let mut window = Window::new();
        window.sent(1000, start);
        // Long after; the receipt is for the middle of it, and was not due before.
        let later = start + Duration::from_secs(5);
        window.sent(8000, later);
        window.receipt(5000, later + Duration::from_millis(10)).unwrap();
        assert_eq!(window.fastest.now.unwrap().1, Duration::from_millis(10));
    }
}
