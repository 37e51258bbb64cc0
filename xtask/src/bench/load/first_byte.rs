//! Visitors that want little: the time to their first byte, and the memory they cost while they wait.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{at_once, connect};

/// How long each of `count` visitors, one after the other, waits from its connect to its first byte.
pub(in crate::bench) fn first_bytes(target: SocketAddr, count: usize) -> Result<Vec<Duration>> {
    let wait = || {
        let begin = Instant::now();
        let _visitor = echoed(target)?;
        Ok(begin.elapsed())
    };
    (0..count).map(|_| wait()).collect()
}

/// How long visitors wait for their first byte, one after the other on each of so many threads, for `span`.
pub(in crate::bench) fn first_bytes_for(
    target: SocketAddr,
    visitors: usize,
    span: Duration,
) -> Result<Vec<Duration>> {
    let end = Instant::now() + span;
    let waits = at_once(visitors, || {
        let mut waits = Vec::new();
        while Instant::now() < end {
            waits.extend(first_bytes(target, 1)?);
        }
        Ok(waits)
    })?;
    Ok(waits.concat())
}

/// `count` visitors that the upstream has answered once and that then have nothing to say, until dropped.
pub(in crate::bench) fn idle_visitors(target: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    idle_visitors_of(&[target], count)
}

/// The same, of all these in turn.
pub(in crate::bench) fn idle_visitors_of(targets: &[SocketAddr], count: usize) -> Result<Vec<TcpStream>> {
    let turns = targets.iter().cycle().take(count).enumerate();
    turns.map(|(nth, target)| echoed(*target).with_context(|| format!("idle visitor {nth}"))).collect()
}

/// So many one-byte exchanges, one after the other, by these visitors in turn.
pub(in crate::bench) fn echoes(visitors: &mut [TcpStream], exchanges: usize) -> Result<()> {
    let mut turns = 0..exchanges;
    while !turns.is_empty() {
        for (visitor, _turn) in visitors.iter_mut().zip(&mut turns) {
            visitor.write_all(b"x")?;
            visitor.read_exact(&mut [0]).context("waiting for the same byte")?;
        }
    }
    Ok(())
}

/// A visitor that the upstream has answered.
fn echoed(target: SocketAddr) -> Result<TcpStream> {
    let mut visitor = connect(target)?;
    visitor.write_all(b"ex")?;
    visitor.read_exact(&mut [0]).context("waiting for the first byte")?;
    Ok(visitor)
}
