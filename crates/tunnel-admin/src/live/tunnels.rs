//! How each tunnel did over time, coarser than the whole: a value in ten seconds for ten minutes, a value in fifteen
//! minutes for a day. A tunnel with nothing to tell keeps no history.

use std::collections::HashMap;

use tunnel_server::{Snapshot, TunnelInfo};

use super::{
    history::{Sample, Series},
    ring::Ring,
};

/// Between two looks, in seconds.
pub(super) const LOOK: u64 = 10;
/// Looks kept: ten minutes.
const FINE: usize = 60;
/// A stretch of the coarse kind, in seconds.
const QUARTER: u64 = 900;
/// Those kept: a day.
const COARSE: usize = 96;
/// Tunnels with a history; about 12 KiB each. Those that come later have none.
const MOST: usize = 2048;

#[derive(Debug, Default)]
pub(super) struct Tunnels {
    by_url: HashMap<String, Tunnel>,
    at: u64,
}

#[derive(Debug)]
struct Tunnel {
    last: Sample,
    fine: Ring<Sample>,
    coarse: Ring<Sample>,
    quarter: Sample,
}

impl Tunnels {
    /// Takes what is so now, [`LOOK`] after the last time.
    pub(super) fn take(&mut self, at: u64, snapshot: &Snapshot) {
        self.at = at;
        let mut former = std::mem::take(&mut self.by_url);
        for info in &snapshot.tunnels {
            let kept = former.remove(&info.url);
            if kept.is_none() && (is_unused(info) || self.by_url.len() >= MOST) {
                continue;
            }
            let mut tunnel = kept.unwrap_or_else(|| Tunnel::new(info));
            tunnel.take(at, info);
            self.by_url.insert(info.url.clone(), tunnel);
        }
    }

    /// Of ten minutes.
    pub(super) fn fine(&self, url: &str) -> Series {
        let tunnel = self.by_url.get(url);
        let series = tunnel.map(|tunnel| Series::of(LOOK, FINE, tunnel.fine.iter()));
        series.unwrap_or_else(|| self.nothing(LOOK, FINE))
    }

    /// Of a day.
    pub(super) fn coarse(&self, url: &str) -> Series {
        let tunnel = self.by_url.get(url);
        let series = tunnel.map(|tunnel| Series::of(QUARTER, COARSE, tunnel.coarse.iter()));
        series.unwrap_or_else(|| self.nothing(QUARTER, COARSE))
    }

    /// Visits in each stretch of the last ten minutes.
    pub(super) fn recent(&self, url: &str) -> Vec<u64> {
        let Some(tunnel) = self.by_url.get(url) else { return Vec::new() };
        tunnel.fine.iter().map(|sample| sample.requests + sample.connections).collect()
    }

    fn nothing(&self, step: u64, length: usize) -> Series {
        Series { end: self.at, ..Series::of(step, length, [].iter()) }
    }
}

impl Tunnel {
    /// What it carried before it was first seen is no news.
    fn new(info: &TunnelInfo) -> Self {
        Self {
            last: counted(0, info),
            fine: Ring::new(FINE),
            coarse: Ring::new(COARSE),
            quarter: Sample::default(),
        }
    }

    fn take(&mut self, at: u64, info: &TunnelInfo) {
        let now = counted(at, info);
        let sample = now.since(&self.last);
        self.last = now;
        self.fine.push(sample);
        self.quarter.add(&sample);
        if at / QUARTER != at.saturating_sub(LOOK) / QUARTER {
            self.coarse.push(std::mem::take(&mut self.quarter));
        }
    }
}

fn is_unused(info: &TunnelInfo) -> bool {
    info.visitors == 0 && info.traffic.requests + info.traffic.connections == 0
}

fn counted(at: u64, info: &TunnelInfo) -> Sample {
    let traffic = &info.traffic;
    Sample {
        at,
        sessions: info.members.len() as u64,
        tunnels: 1,
        visitors: info.visitors as u64,
        requests: traffic.requests,
        connections: traffic.connections,
        failed: traffic.answers[4],
        bytes_in: traffic.bytes_in,
        bytes_out: traffic.bytes_out,
    }
}
