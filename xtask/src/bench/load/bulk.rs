//! Bulk: as many bytes as go through, down from the upstream or up to it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{at_once, connect};

/// Bytes of one read or write.
pub(super) const CHUNK: usize = 256 << 10;

/// What was moved, all streams together.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Moved {
    /// Bytes that arrived.
    pub(in crate::bench) bytes: f64,
    /// From before the first connect to the end of the last stream.
    pub(in crate::bench) seconds: f64,
}

/// Downloads over `streams` connections at once for about `span`, each to its end.
pub(in crate::bench) fn download(target: SocketAddr, streams: usize, span: Duration) -> Result<Moved> {
    let millis = u32::try_from(span.as_millis()).context("a span of weeks")?;
    timed(streams, || {
        let mut stream = connect(target)?;
        let [a, b, c, d] = millis.to_be_bytes();
        stream.write_all(&[b'd', a, b, c, d])?;
        let mut chunk = vec![0; CHUNK];
        let mut total = 0;
        loop {
            match stream.read(&mut chunk).context("downloading")? {
                0 => break,
                n => total += n as u64,
            }
        }
        ensure!(total > 0, "a download of nothing");
        Ok(total)
    })
}

/// Uploads over `streams` connections at once for about `span`, each until the upstream has said that it has all of it.
pub(in crate::bench) fn upload(target: SocketAddr, streams: usize, span: Duration) -> Result<Moved> {
    timed(streams, || {
        let mut stream = connect(target)?;
        let end = Instant::now() + span;
        let chunk = vec![0xa5; CHUNK];
        stream.write_all(b"u")?;
        let mut sent: u64 = 0;
        while Instant::now() < end {
            stream.write_all(&chunk).context("uploading")?;
            sent += chunk.len() as u64;
        }
        stream.shutdown(Shutdown::Write)?;
        let mut arrived = [0; 8];
        stream.read_exact(&mut arrived).context("waiting for the upstream's count")?;
        let arrived = u64::from_be_bytes(arrived);
        ensure!(arrived == sent, "{sent} bytes were sent and {arrived} arrived");
        Ok(arrived)
    })
}

fn timed(streams: usize, work: impl Fn() -> Result<u64> + Sync) -> Result<Moved> {
    let begin = Instant::now();
    let bytes: u64 = at_once(streams, work)?.into_iter().sum();
    Ok(Moved { bytes: bytes as f64, seconds: begin.elapsed().as_secs_f64() })
}
