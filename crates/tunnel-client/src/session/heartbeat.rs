//! Whether the server is still there: decided outside the multiplexer, by someone who waits for nothing.
//!
//! A multiplexer may be stuck while its socket is fine, and a socket may look fine while nobody is behind it (NAT
//! expiry, a pulled cable, a laptop that slept). So one task looks at when bytes were last read on the lane, and counts
//! the messages heard on the control stream. When either stands still for too long, the session is dead. It sleeps
//! until that is due, so that a death is noticed on time, and never longer than a second, so that a sleep is, and a move
//! to another network.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use tunnel_transport::Way;

use super::{
    clock::{Moment, TICK},
    moved::{Change, WayWatch},
};

/// Bounds for what a server may ask for.
const BEAT_RANGE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(60));
/// Bytes may flow while the control stream stands still behind them, but not forever: this many silences long.
const CONTROL_PATIENCE: u32 = 4;

/// How often to beat, and when to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Time between two heartbeats of ours.
    pub(crate) beat: Duration,
    /// Silence after which the server is dead.
    pub(crate) dead_after: Duration,
    /// Time for a sign of life after a clock jump or a move.
    pub(crate) probe: Duration,
}

impl Pace {
    /// What the server asked for, within reason.
    pub(crate) fn new(heartbeat_ms: u64, dead_after_ms: u64, probe: Duration) -> Self {
        let beat = Duration::from_millis(heartbeat_ms).clamp(BEAT_RANGE.0, BEAT_RANGE.1);
        let dead_after = Duration::from_millis(dead_after_ms).clamp(beat * 2, BEAT_RANGE.1 * 5);
        Self { beat, dead_after, probe }
    }

    fn tick(&self) -> Duration {
        self.beat.min(TICK)
    }
}

/// What the watchdog looks at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// When.
    pub(crate) at: Moment,
    /// When bytes were last read from the lane, by the monotonic clock.
    pub(crate) bytes_at: Duration,
    /// Control messages heard so far.
    pub(crate) messages: u64,
    /// Which way leads to the server.
    pub(crate) way: Option<Way>,
}

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing to do.
    Alive,
    /// Send a ping.
    Ping,
    /// Give the session up.
    Dead(Silence),
}

/// How a server went silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// No byte for this long.
    NoBytes(Duration),
    /// Bytes, but no control message for this long.
    NoControl(Duration),
    /// The clock jumped, and the server did not answer after that.
    Slept,
    /// The way to the server is another one now, and it did not answer after that.
    Moved,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBytes(time) => write!(f, "nothing heard from the server for {} s", time.as_secs_f32()),
            Self::NoControl(time) => write!(f, "no heartbeat from the server for {} s", time.as_secs_f32()),
            Self::Slept => f.write_str("this machine was asleep, and the connection did not survive it"),
            Self::Moved => {
                f.write_str("this machine is in another network, and the connection did not survive it")
            }
        }
    }
}

/// The decision, as a function of what was seen and when.
#[derive(Debug)]
pub(crate) struct Watchdog {
    pace: Pace,
    last: Sample,
    bytes_at: Duration,
    messages_at: Duration,
    ping_at: Duration,
    way: WayWatch,
    /// After a clock jump or a move: what happened, since when, and until when a sign of life is waited for at most.
    probe: Option<(Silence, Duration, Duration)>,
}

impl Watchdog {
    pub(crate) fn new(pace: Pace, now: Sample) -> Self {
        let mut way = WayWatch::default();
        way.look(now.way);
        Self {
            way,
            pace,
            last: now,
            bytes_at: now.at.clock,
            messages_at: now.at.clock,
            ping_at: now.at.clock,
            probe: None,
        }
    }

    /// Looks. To be called at least once a heartbeat; a call that comes late is taken for a machine that slept.
    pub(crate) fn look(&mut self, now: Sample) -> Verdict {
        let Pace { beat, dead_after, probe, .. } = self.pace;
        let jumped = now.at.jumped(self.last.at, beat * 2);
        let way = self.way.look(now.way);
        let clock = now.at.clock;
        // A jump sets it to a time at which nothing was read.
        self.bytes_at = self.bytes_at.max(now.bytes_at);
        if now.messages != self.last.messages {
            self.messages_at = clock;
        }
        self.last = now;
        if jumped {
            // What was not heard meanwhile says nothing: nobody listened. Ask, and give it a moment.
            (self.bytes_at, self.messages_at) = (clock, clock);
            self.probe = Some((Silence::Slept, clock, clock + probe));
            self.ping_at = clock + beat;
            return Verdict::Ping;
        }
        if let Some((cause, since, until)) = self.probe {
            if now.bytes_at >= since {
                self.probe = None;
            } else if clock >= until {
                return Verdict::Dead(cause);
            }
        }
        let silent = clock.saturating_sub(self.bytes_at);
        if silent >= dead_after {
            return Verdict::Dead(Silence::NoBytes(silent));
        }
        let mute = clock.saturating_sub(self.messages_at);
        if mute >= dead_after * CONTROL_PATIENCE {
            return Verdict::Dead(Silence::NoControl(mute));
        }
        if way == Change::Other {
            // Who moves all the time doesn't put the end off.
            self.probe.get_or_insert((Silence::Moved, clock, clock + probe));
        }
        // By a way that is back the connection mostly lives, and needs its time: both ends send again what was lost at
        // ever longer intervals, and the next try may be later than a probe's end. All that is certain is the silence.
        if way != Change::Nothing || clock >= self.ping_at {
            self.ping_at = clock + beat;
            return Verdict::Ping;
        }
        Verdict::Alive
    }

    /// When the next look is due, by the monotonic clock.
    pub(crate) fn next_look(&self) -> Duration {
        let Pace { dead_after, .. } = self.pace;
        let deaths = [self.bytes_at + dead_after, self.messages_at + dead_after * CONTROL_PATIENCE];
        let probed = self.probe.map_or(Duration::MAX, |(_, _, until)| until);
        let tick = self.last.at.clock + self.pace.tick();
        deaths.into_iter().fold(tick.min(self.ping_at).min(probed), Duration::min)
    }
}

/// What the control stream's reader tells the heart.
#[derive(Debug)]
pub(crate) struct Heard {
    messages: AtomicU64,
    pongs: mpsc::Sender<u64>,
}

impl Heard {
    /// A counter, and where the numbers of answered pings arrive.
    pub(crate) fn new() -> (Self, mpsc::Receiver<u64>) {
        let (pongs, receiver) = mpsc::channel(4);
        (Self { messages: AtomicU64::new(0), pongs }, receiver)
    }

    /// A control message, of whatever kind.
    pub(crate) fn message(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    /// A pong. A flood of them is dropped.
    pub(crate) fn pong(&self, seq: u64) {
        let _ = self.pongs.try_send(seq);
    }
}

/// Beats until the server is dead.
///
/// `look` tells when bytes were last read on the lane, and which way leads to the server; `asked` ends when somebody
/// wants a beat now; `ping` must not wait; `rtt` is told each round trip.
pub(crate) async fn run<A: Future<Output = ()>>(
    pace: Pace,
    look: impl Fn() -> (Instant, Option<Way>),
    heard: &Heard,
    mut pongs: mpsc::Receiver<u64>,
    asked: impl Fn() -> A,
    ping: impl Fn(u64),
    rtt: impl Fn(Duration),
) -> Silence {
    let start = Instant::now();
    let sample = || {
        let (last_read, way) = look();
        Sample {
            at: Moment::now(start),
            bytes_at: last_read.saturating_duration_since(start),
            messages: heard.messages.load(Ordering::Relaxed),
            way,
        }
    };
    let mut watchdog = Watchdog::new(pace, sample());
    let mut seq = 0;
    // One ping at a time is timed; a newer one replaces it.
    let mut timed: Option<(u64, Instant)> = None;
    loop {
        let is_due = tokio::select! {
            () = sleep_until(start + watchdog.next_look()) => match watchdog.look(sample()) {
                Verdict::Alive => false,
                Verdict::Ping => true,
                Verdict::Dead(silence) => return silence,
            },
            () = asked() => true,
            Some(answered) = pongs.recv() => {
                if let Some((seq, sent)) = timed && seq == answered {
                    timed = None;
                    rtt(sent.elapsed());
                }
                false
            }
        };
        if is_due {
            seq += 1;
            timed = Some((seq, Instant::now()));
            ping(seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn pace() -> Pace {
        Pace::new(5_000, 15_000, s(3))
    }

    /// A sample at `clock` seconds, with the wall clock ahead by `slept` and the last byte at `bytes_at`.
    fn at(clock: u64, slept: u64, bytes_at: u64, messages: u64) -> Sample {
        let at = Moment { clock: s(clock), wall: s(1_000_000 + clock + slept) };
        Sample { at, bytes_at: s(bytes_at), messages, way: None }
    }

    /// The same, from an address that ends so.
    fn from(host: u8, sample: Sample) -> Sample {
        let way = Way { from: [10, 0, 0, host].into(), to: ([192, 0, 2, 1], 4444).into() };
        Sample { way: Some(way), ..sample }
    }

    #[test]
    fn a_server_that_talks_lives_and_is_pinged_every_beat() {
        let mut dog = Watchdog::new(pace(), at(0, 0, 0, 0));
        let mut pings = Vec::new();
        for t in 0..600 {
            match dog.look(at(t, 0, t / 5 * 5, t / 5)) {
                Verdict::Ping => pings.push(t),
                Verdict::Alive => {}
                dead @ Verdict::Dead(_) => panic!("{dead:?} at {t}"),
            }
        }
        assert_eq!(pings, (0..600).step_by(5).collect::<Vec<_>>());
    }

    #[test]
    fn silence_is_death_after_the_deadline_and_not_before() {
        let mut dog = Watchdog::new(pace(), at(0, 0, 0, 0));
        dog.look(at(1, 0, 1, 1));
        for t in 2..16 {
            assert!(!matches!(dog.look(at(t, 0, 1, 1)), Verdict::Dead(_)), "at {t}");
        }
        assert_eq!(dog.look(at(16, 0, 1, 1)), Verdict::Dead(Silence::NoBytes(s(15))));
    }

    #[test]
    fn a_death_is_noticed_on_time_wherever_the_last_byte_fell() {
        for millis in (0..5_000).step_by(37) {
            let last = Duration::from_millis(millis);
            let mut dog = Watchdog::new(pace(), at(0, 0, 0, 0));
            let mut looks = 0;
            let died = loop {
                let clock = dog.next_look();
                let sample = Sample {
                    at: Moment { clock, wall: s(1_000_000) + clock },
                    bytes_at: last.min(clock),
                    messages: 0,
                    way: None,
                };
                match dog.look(sample) {
                    Verdict::Dead(Silence::NoBytes(silent)) => break (clock, silent),
                    Verdict::Dead(other) => panic!("{other:?}"),
                    Verdict::Alive | Verdict::Ping => looks += 1,
                }
                assert!(looks < 100, "it looks without pause");
            };
            assert_eq!(died, (last + s(15), s(15)));
        }
    }

    #[test]
    fn bytes_without_control_messages_are_believed_four_times_as_long() {
        let mut dog = Watchdog::new(pace(), at(0, 0, 0, 0));
        for t in 1..60 {
            assert!(!matches!(dog.look(at(t, 0, t, 0)), Verdict::Dead(_)), "at {t}");
        }
        assert_eq!(dog.look(at(60, 0, 60, 0)), Verdict::Dead(Silence::NoControl(s(60))));
    }

    #[test]
    fn a_jump_of_either_clock_asks_at_once_and_gives_three_seconds() {
        // A suspended laptop: the monotonic clock stood still. A stopped process: it went on.
        for wake in [at(2, 600, 1, 5), at(602, 0, 1, 5)] {
            let mut dog = Watchdog::new(pace(), at(0, 0, 0, 0));
            dog.look(at(1, 0, 1, 5));
            assert_eq!(dog.look(wake), Verdict::Ping, "asks at once, though the silence was long");
            let t0 = wake.at.clock.as_secs();
            let slept = wake.at.wall.as_secs() - 1_000_000 - t0;
            assert_eq!(dog.look(at(t0 + 1, slept, 1, 5)), Verdict::Alive);
            assert_eq!(dog.look(at(t0 + 2, slept, 1, 5)), Verdict::Alive);
            assert_eq!(dog.next_look(), s(t0 + 3));
            assert_eq!(dog.look(at(t0 + 3, slept, 1, 5)), Verdict::Dead(Silence::Slept));
        }
    }

    #[test]
    fn an_answer_after_a_jump_saves_the_session() {
        let mut dog = Watchdog::new(pace(), at(0, 0, 0, 0));
        assert_eq!(dog.look(at(1, 600, 0, 5)), Verdict::Ping);
        for t in 2..15 {
            assert!(!matches!(dog.look(at(t, 600, 2, 6)), Verdict::Dead(_)), "at {t}");
        }
    }

    #[test]
    fn a_move_to_another_network_asks_at_once_and_gives_three_seconds() {
        let mut dog = Watchdog::new(pace(), from(1, at(0, 0, 0, 0)));
        dog.look(from(1, at(1, 0, 1, 1)));
        assert_eq!(dog.look(at(2, 0, 1, 1)), Verdict::Alive, "without a network nothing can be done");
        assert_eq!(dog.look(from(2, at(3, 0, 1, 1))), Verdict::Ping);
        assert_eq!(dog.look(from(2, at(4, 0, 1, 1))), Verdict::Alive);
        assert_eq!(dog.look(from(3, at(5, 0, 1, 1))), Verdict::Ping, "and another one");
        assert_eq!(dog.next_look(), s(6));
        assert_eq!(dog.look(from(3, at(6, 0, 1, 1))), Verdict::Dead(Silence::Moved));
    }

    #[test]
    fn an_answer_after_a_move_saves_the_session_and_none_is_waited_for_but_once() {
        let mut dog = Watchdog::new(pace(), from(1, at(0, 0, 0, 0)));
        assert_eq!(dog.look(from(2, at(1, 0, 0, 0))), Verdict::Ping);
        for t in 2..15 {
            assert!(!matches!(dog.look(from(2, at(t, 0, 2, 1))), Verdict::Dead(_)), "at {t}");
        }
        // Whatever moves, silence is death after the deadline.
        let mut dog = Watchdog::new(Pace { probe: s(60), ..pace() }, from(0, at(0, 0, 0, 0)));
        let looks: Vec<_> = (1..=15).map(|t| dog.look(from(t % 2, at(t.into(), 0, 0, 0)))).collect();
        assert_eq!(looks[14], Verdict::Dead(Silence::NoBytes(s(15))));
        assert!(looks[..14].iter().all(|look| *look == Verdict::Ping));
    }

    #[test]
    fn a_network_that_was_gone_for_a_moment_costs_a_ping_and_no_session() {
        let mut dog = Watchdog::new(pace(), from(1, at(0, 0, 0, 0)));
        dog.look(from(1, at(1, 0, 1, 1)));
        for t in 2..8 {
            dog.look(at(t, 0, 1, 1));
        }
        assert_eq!(dog.look(from(1, at(8, 0, 1, 1))), Verdict::Ping);
        for t in 9..16 {
            assert!(!matches!(dog.look(from(1, at(t, 0, 1, 1))), Verdict::Dead(_)), "at {t}");
        }
        assert_eq!(dog.look(from(1, at(16, 0, 1, 1))), Verdict::Dead(Silence::NoBytes(s(15))));
    }

    #[test]
    fn ways_that_alternate_shorten_no_silence() {
        let mut dog = Watchdog::new(pace(), from(0, at(0, 0, 0, 0)));
        // The server answers the first time, and then not for long.
        for t in 1..16 {
            let look = dog.look(from(u8::try_from(t % 2).unwrap(), at(t, 0, 2.min(t), 1)));
            assert_eq!(look, Verdict::Ping, "at {t}");
        }
    }

    #[test]
    fn a_wall_clock_set_back_or_a_little_forward_is_nothing() {
        let mut dog = Watchdog::new(pace(), at(0, 5000, 0, 0));
        dog.look(at(1, 5000, 1, 1));
        assert_eq!(dog.look(at(2, 0, 2, 2)), Verdict::Alive);
        assert_eq!(dog.look(at(3, 9, 3, 3)), Verdict::Alive);
    }

    #[test]
    fn a_server_cant_ask_for_nonsense() {
        let mad = Pace::new(0, 0, s(3));
        assert!(mad.beat >= Duration::from_millis(50) && mad.dead_after >= mad.beat * 2);
        let mad = Pace::new(u64::MAX, u64::MAX, s(3));
        assert!(mad.beat <= s(60) && mad.dead_after <= s(300));
    }
}
