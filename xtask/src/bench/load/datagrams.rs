//! Visitors that exchange datagrams, as a game's players do: each has so many under way, and sends the next when one
//! is back.
//!
//! So a system is loaded as far as it goes and no further: what is counted is what it carries, not what it drops.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::at_once;

/// Bytes of a datagram: a game's, or a voice's.
const LENGTH: usize = 200;
/// A datagram that isn't back after so long is lost, and another takes its place.
const LOST_AFTER: Duration = Duration::from_millis(300);

/// What came back.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::bench) struct Returned {
    /// Datagrams that came back.
    pub(in crate::bench) returned: f64,
    /// Datagrams that were sent.
    pub(in crate::bench) sent: f64,
    /// From the first to the last.
    pub(in crate::bench) seconds: f64,
}

/// `visitors` sockets with `under_way` datagrams each, for `span`.
pub(in crate::bench) fn datagrams(
    target: SocketAddr,
    visitors: usize,
    under_way: usize,
    span: Duration,
) -> Result<Returned> {
    let begin = Instant::now();
    let sockets: Vec<UdpSocket> = (0..visitors).map(|_| visitor(target)).collect::<Result<_>>()?;
    let sockets = Mutex::new(sockets);
    let counts = at_once(visitors, || {
        let socket = sockets.lock().ok().and_then(|mut sockets| sockets.pop());
        exchange(&socket.context("invariant: a socket for each thread")?, under_way, begin + span)
    })?;
    let returned = counts.iter().map(|(returned, _)| f64::from(*returned)).sum();
    let sent = counts.iter().map(|(_, sent)| f64::from(*sent)).sum();
    ensure!(returned > 0.0, "no datagram came back");
    Ok(Returned { returned, sent, seconds: begin.elapsed().as_secs_f64() })
}

/// A socket whose first datagram has come back: the flow is there.
fn visitor(target: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(LOST_AFTER))?;
    let mut datagram = [0; LENGTH];
    for _ in 0..TRIES {
        socket.send(&datagram)?;
        if socket.recv(&mut datagram).is_ok() {
            return Ok(socket);
        }
    }
    anyhow::bail!("{TRIES} datagrams to {target}, and none came back")
}

/// Returned and sent until `end`.
fn exchange(socket: &UdpSocket, under_way: usize, end: Instant) -> Result<(u32, u32)> {
    let (mut returned, mut sent) = (0, 0);
    let mut datagram = [0x5a; LENGTH];
    let mut missing = under_way;
    while Instant::now() < end {
        for _ in 0..std::mem::take(&mut missing) {
            socket.send(&datagram).context("sending a datagram")?;
            sent += 1;
        }
        match socket.recv(&mut datagram) {
            Ok(length) => {
                ensure!(length == LENGTH, "a datagram of {LENGTH} bytes came back with {length}");
                returned += 1;
                missing = 1;
            }
            // All that were under way are lost.
            Err(_) => missing = under_way,
        }
    }
    Ok((returned, sent))
}

/// How often the first datagram is tried: a flow may need longer to be made than a datagram lives.
const TRIES: usize = 20;
