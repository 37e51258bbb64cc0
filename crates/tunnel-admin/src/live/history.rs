//! How the server as a whole did over time: a value a second for ten minutes, a value a minute for a day.

use std::collections::BTreeMap;

use serde::Serialize;
use tunnel_server::Totals;

use super::ring::Ring;

/// Seconds kept.
const SECONDS: usize = 600;
/// Minutes kept.
const MINUTES: usize = 24 * 60;

/// One stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Sample {
    /// Its end, in seconds of Unix time.
    pub(crate) at: u64,
    /// Clients at its end.
    pub(crate) sessions: u64,
    /// Tunnels at its end.
    pub(crate) tunnels: u64,
    /// Visitors at its end; of a minute the most.
    pub(crate) visitors: u64,
    /// Web requests in it.
    pub(crate) requests: u64,
    /// Connections and flows begun in it.
    pub(crate) connections: u64,
    /// Answers with a status of 500 or more in it.
    pub(crate) failed: u64,
    /// Bytes from visitors in it.
    pub(crate) bytes_in: u64,
    /// Bytes to visitors in it.
    pub(crate) bytes_out: u64,
}

/// A row of equal stretches, as columns; before the server's start there is nothing but zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Series {
    /// How long each stretch is, in seconds.
    pub(crate) step_s: u64,
    /// The end of the last one, in seconds of Unix time.
    pub(crate) end: u64,
    pub(crate) sessions: Vec<u64>,
    pub(crate) tunnels: Vec<u64>,
    pub(crate) visitors: Vec<u64>,
    pub(crate) requests: Vec<u64>,
    pub(crate) connections: Vec<u64>,
    pub(crate) failed: Vec<u64>,
    pub(crate) bytes_in: Vec<u64>,
    pub(crate) bytes_out: Vec<u64>,
}

/// What was refused or failed, by code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Codes {
    pub(crate) code: &'static str,
    pub(crate) last_10m: u64,
    pub(crate) last_24h: u64,
    pub(crate) total: u64,
}

type Refusals = BTreeMap<&'static str, u64>;

#[derive(Debug)]
pub(super) struct History {
    at: u64,
    last: Option<Totals>,
    seconds: Ring<Sample>,
    minutes: Ring<Sample>,
    minute: Sample,
    /// What was refused in each minute.
    refusals: Ring<Refusals>,
    refused_before: Refusals,
}

impl Default for History {
    fn default() -> Self {
        Self {
            at: 0,
            last: None,
            seconds: Ring::new(SECONDS),
            minutes: Ring::new(MINUTES),
            minute: Sample::default(),
            refusals: Ring::new(MINUTES),
            refused_before: Refusals::new(),
        }
    }
}

impl History {
    /// Takes what is so now, a second after the last time.
    pub(super) fn take(&mut self, at: u64, totals: Totals) -> Sample {
        let now = Sample::counted(at, &totals);
        let sample = now.since(&self.last.as_ref().map_or(now, |last| Sample::counted(at, last)));
        self.seconds.push(sample);
        self.minute.add(&sample);
        if at / 60 != std::mem::replace(&mut self.at, at) / 60 {
            self.minutes.push(std::mem::take(&mut self.minute));
            let refused = since(&self.refused_before, &totals.refusals);
            self.refused_before.clone_from(&totals.refusals);
            self.refusals.push(refused);
        }
        self.last = Some(totals);
        sample
    }

    pub(super) fn seconds(&self) -> Series {
        Series::of(1, self.seconds.most(), self.seconds.iter())
    }

    pub(super) fn minutes(&self) -> Series {
        Series::of(60, self.minutes.most(), self.minutes.iter())
    }

    pub(super) fn codes(&self) -> Vec<Codes> {
        let Some(last) = &self.last else { return Vec::new() };
        let now = since(&self.refused_before, &last.refusals);
        let within = |code: &str, minutes: usize| {
            let past: u64 =
                self.refusals.iter().rev().take(minutes).filter_map(|refusals| refusals.get(code)).sum();
            past + now.get(code).copied().unwrap_or_default()
        };
        let mut codes: Vec<_> = last
            .refusals
            .iter()
            .map(|(code, total)| Codes {
                code,
                last_10m: within(code, 10),
                last_24h: within(code, MINUTES),
                total: *total,
            })
            .collect();
        codes.sort_by_key(|code| std::cmp::Reverse((code.last_10m, code.last_24h, code.total)));
        codes
    }
}

impl Sample {
    /// Everything counted since the start.
    fn counted(at: u64, totals: &Totals) -> Self {
        Self {
            at,
            sessions: totals.sessions as u64,
            tunnels: totals.tunnels as u64,
            visitors: totals.visitors as u64,
            requests: totals.requests,
            connections: totals.tcp_visitors + totals.udp_flows,
            failed: totals.answers[4],
            bytes_in: totals.bytes_in,
            bytes_out: totals.bytes_out,
        }
    }

    /// What was counted after `last` was.
    pub(super) fn since(&self, last: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(last.requests),
            connections: self.connections.saturating_sub(last.connections),
            failed: self.failed.saturating_sub(last.failed),
            bytes_in: self.bytes_in.saturating_sub(last.bytes_in),
            bytes_out: self.bytes_out.saturating_sub(last.bytes_out),
            ..*self
        }
    }

    /// Makes one longer by the next.
    pub(super) fn add(&mut self, second: &Self) {
        *self = Self {
            at: second.at,
            sessions: second.sessions,
            tunnels: second.tunnels,
            visitors: self.visitors.max(second.visitors),
            requests: self.requests + second.requests,
            connections: self.connections + second.connections,
            failed: self.failed + second.failed,
            bytes_in: self.bytes_in + second.bytes_in,
            bytes_out: self.bytes_out + second.bytes_out,
        };
    }
}

impl Series {
    /// `length` stretches of `step_s` seconds; those that there are come last.
    pub(super) fn of<'a>(
        step_s: u64,
        length: usize,
        samples: impl DoubleEndedIterator<Item = &'a Sample> + ExactSizeIterator,
    ) -> Self {
        let mut series = Self { step_s, ..Self::default() };
        let missing = length.saturating_sub(samples.len());
        let nothing = std::iter::repeat_n(&EMPTY, missing);
        for sample in nothing.chain(samples) {
            series.end = sample.at;
            series.sessions.push(sample.sessions);
            series.tunnels.push(sample.tunnels);
            series.visitors.push(sample.visitors);
            series.requests.push(sample.requests);
            series.connections.push(sample.connections);
            series.failed.push(sample.failed);
            series.bytes_in.push(sample.bytes_in);
            series.bytes_out.push(sample.bytes_out);
        }
        series
    }
}

const EMPTY: Sample = Sample {
    at: 0,
    sessions: 0,
    tunnels: 0,
    visitors: 0,
    requests: 0,
    connections: 0,
    failed: 0,
    bytes_in: 0,
    bytes_out: 0,
};

fn since(before: &Refusals, now: &Refusals) -> Refusals {
    let new = now.iter().map(|(code, count)| (*code, count - before.get(code).copied().unwrap_or_default()));
    new.filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u64, requests: u64, visitors: u64) -> Sample {
        Sample { at, requests, visitors, ..Sample::default() }
    }

    #[test]
    fn a_series_is_as_long_as_its_range_from_the_first_moment_on() {
        let mut ring = Ring::new(3);
        ring.push(sample(7, 1, 1));
        let series = Series::of(1, 3, ring.iter());
        assert_eq!((series.requests, series.end), (vec![0, 0, 1], 7));
        for at in 8..12 {
            ring.push(sample(at, at, 1));
        }
        assert_eq!(Series::of(1, 3, ring.iter()).requests, [9, 10, 11]);
    }

    #[test]
    fn a_minute_adds_what_happened_and_keeps_the_most_that_there_was() {
        let mut minute = Sample::default();
        minute.add(&sample(59, 2, 5));
        minute.add(&sample(60, 3, 4));
        assert_eq!((minute.at, minute.requests, minute.visitors), (60, 5, 5));
    }

    #[test]
    fn only_what_is_new_counts() {
        let (before, now) =
            (Refusals::from([("a", 1), ("b", 2)]), Refusals::from([("a", 1), ("b", 5), ("c", 1)]));
        assert_eq!(since(&before, &now), Refusals::from([("b", 3), ("c", 1)]));
    }
}
