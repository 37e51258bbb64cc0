//! The link: packets of one TUN device come out of the other, later, unless they are lost on the way.
//!
//! Each direction has a rate, behind a queue that drops what doesn't fit, and then the delay. It runs as
//! `cargo xtask bench-link`, so that it ends with its process and takes its CPU time from nobody's account.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tun_tap::{Iface, Mode};

use super::namespaces::{enter, ip};

/// The device's name in both namespaces.
const DEVICE: &str = "wan0";
/// Longest packet.
const MTU: usize = 1500;
/// How much may wait for the rate, as time: a router's buffer of a round trip.
const QUEUE: Duration = Duration::from_millis(100);

/// What the link is like.
#[derive(Debug, clap::Args)]
pub(crate) struct LinkArguments {
    /// One end.
    #[arg(value_name = "NAMESPACE=ADDRESS", value_parser = end)]
    a: End,
    /// The other end.
    #[arg(value_name = "NAMESPACE=ADDRESS", value_parser = end)]
    b: End,
    /// One way.
    #[arg(long)]
    delay_ms: u32,
    /// Each way.
    #[arg(long)]
    mbit: u32,
    /// Packets lost, of a thousand, each way.
    #[arg(long)]
    loss_per_mille: u32,
}

#[derive(Clone, Debug)]
struct End {
    namespace: String,
    address: Ipv4Addr,
}

fn end(text: &str) -> Result<End> {
    let (namespace, address) = text.split_once('=').context("NAMESPACE=ADDRESS")?;
    Ok(End { namespace: namespace.into(), address: address.parse()? })
}

/// Carries packets until killed.
///
/// # Errors
/// When a device can't be made.
pub(crate) fn carry(arguments: &LinkArguments) -> Result<bool> {
    let (a, b) = (device(&arguments.a, &arguments.b)?, device(&arguments.b, &arguments.a)?);
    let (a, b) = (Arc::new(a), Arc::new(b));
    // Losses are the same in every run: which packet they hit isn't.
    let there = Direction::new(arguments, 0x9E37_79B9_7F4A_7C15);
    let back = Direction::new(arguments, 0xD1B5_4A32_D192_ED03);
    println!("up");
    thread::scope(|scope| {
        for (mut direction, from, to) in [(there, Arc::clone(&a), Arc::clone(&b)), (back, b, a)] {
            let on_the_way = Arc::new(OnTheWay::default());
            let arriving = Arc::clone(&on_the_way);
            scope.spawn(move || arriving.deliver(&to));
            scope.spawn(move || direction.take(&from, &on_the_way));
        }
    });
    Ok(true)
}

/// The TUN device of one end. It stays in its namespace, wherever the threads are that use it.
fn device(near: &End, far: &End) -> Result<Iface> {
    let make = || {
        enter(&near.namespace)?;
        let device = Iface::without_packet_info(DEVICE, Mode::Tun).context("/dev/net/tun")?;
        ip(&["addr", "add", &near.address.to_string(), "peer", &far.address.to_string(), "dev", DEVICE])?;
        ip(&["link", "set", DEVICE, "up", "mtu", &MTU.to_string(), "txqueuelen", "10000"])?;
        Ok(device)
    };
    // A namespace is a thread's own.
    thread::scope(|scope| scope.spawn(make).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

/// One way's sending end.
struct Direction {
    delay: Duration,
    bytes_per_second: f64,
    loss: f64,
    seed: u64,
    free_at: Instant,
}

impl Direction {
    fn new(arguments: &LinkArguments, seed: u64) -> Self {
        Self {
            delay: Duration::from_millis(arguments.delay_ms.into()),
            bytes_per_second: f64::from(arguments.mbit) * 125_000.0,
            loss: f64::from(arguments.loss_per_mille) / 1000.0,
            seed,
            free_at: Instant::now(),
        }
    }

    fn take(&mut self, from: &Iface, to: &OnTheWay) {
        let mut packet = [0; MTU];
        while let Ok(length) = from.recv(&mut packet) {
            let now = Instant::now();
            self.free_at = self.free_at.max(now);
            if self.chance() < self.loss || self.free_at - now > QUEUE {
                continue;
            }
            self.free_at += Duration::from_secs_f64(length as f64 / self.bytes_per_second);
            to.put(self.free_at + self.delay, packet[..length].to_vec());
        }
    }

    /// From 0 to 1, by xorshift.
    fn chance(&mut self) -> f64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Packets and when they arrive, in that order.
#[derive(Default)]
struct OnTheWay {
    packets: Mutex<VecDeque<(Instant, Vec<u8>)>>,
    more: Condvar,
}

impl OnTheWay {
    fn put(&self, at: Instant, packet: Vec<u8>) {
        self.lock().push_back((at, packet));
        self.more.notify_one();
    }

    fn deliver(&self, to: &Iface) {
        loop {
            let mut packets = self.lock();
            let (at, packet) = loop {
                match packets.pop_front() {
                    Some(next) => break next,
                    None => packets = self.more.wait(packets).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(packets);
            thread::sleep(at.saturating_duration_since(Instant::now()));
            // A device whose end is down takes nothing, as a link would.
            let _ = to.send(&packet);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Instant, Vec<u8>)>> {
        self.packets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
