//! The visitors: threads of this process that load a system and count what comes back.
//!
//! Plain blocking sockets: a thread per connection costs the generator less than a runtime would, and hides nothing.

mod bulk;
mod datagrams;
mod first_byte;
mod http;

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

pub(super) use bulk::{Moved, download, upload};
pub(super) use datagrams::{Returned, datagrams};
pub(super) use first_byte::{echoes, first_bytes, first_bytes_for, idle_visitors, idle_visitors_of};
pub(super) use http::{Served, exchange, keep_alive, new_connections, page, web_download};

/// A socket that is silent for so long has failed: a frozen system is a result, not the end of the bench.
const SILENCE: Duration = Duration::from_secs(15);

/// A new visitor's connection.
fn connect(target: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, SILENCE).context("connecting")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    Ok(stream)
}

/// Runs `work` on `count` threads at once and gathers what they return; the first failure is the failure of all.
fn at_once<T: Send>(count: usize, work: impl Fn() -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(&work)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<T>>| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().map(join).collect()
    })
}
