//! Small HTTP exchanges: kept-alive, and a new connection for each.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::bulk::CHUNK;
use super::{at_once, connect};
use crate::bench::upstream::{BODY, MAX_HEAD, OBJECT};

/// Longest answer: head and body.
const MAX_ANSWER: usize = 24 << 10;

/// What was served.
#[derive(Debug)]
pub(in crate::bench) struct Served {
    /// How long each exchange took, shortest first.
    pub(in crate::bench) latencies: Vec<Duration>,
    /// From the first to the last.
    pub(in crate::bench) seconds: f64,
}

/// One request to `host` on a connection of its own, to see whether the way is open.
pub(in crate::bench) fn exchange(target: SocketAddr, host: &str) -> Result<()> {
    ask_anew(target, request(host, "close").as_bytes())
}

/// How long a page of `objects` takes over `connections` kept-alive connections made for it: 16 KiB each.
pub(in crate::bench) fn page(
    target: SocketAddr,
    host: &str,
    connections: usize,
    objects: usize,
) -> Result<Duration> {
    let request = format!("GET /object HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let begin = Instant::now();
    at_once(connections, || {
        let mut stream = connect(target)?;
        let mut answer = vec![0; MAX_ANSWER];
        for _ in 0..objects / connections {
            stream.write_all(request.as_bytes())?;
            read_answer(&mut stream, OBJECT, &mut answer)?;
        }
        Ok(())
    })?;
    Ok(begin.elapsed())
}

/// `connections` kept-alive connections, each asking again as soon as it was answered, for `span`.
pub(in crate::bench) fn keep_alive(
    target: SocketAddr,
    host: &str,
    connections: usize,
    span: Duration,
) -> Result<Served> {
    let request = request(host, "keep-alive");
    measured(connections, span, |end| {
        let mut stream = connect(target)?;
        let mut latencies = Vec::new();
        let mut answer = vec![0; MAX_ANSWER];
        while Instant::now() < end {
            let begin = Instant::now();
            stream.write_all(request.as_bytes())?;
            read_answer(&mut stream, BODY, &mut answer)?;
            latencies.push(begin.elapsed());
        }
        Ok(latencies)
    })
}

/// A download to its end, which takes about `span`.
pub(in crate::bench) fn web_download(target: SocketAddr, host: &str, span: Duration) -> Result<()> {
    let mut stream = connect(target)?;
    let request =
        format!("GET /download/{} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", span.as_millis());
    stream.write_all(request.as_bytes())?;
    let mut chunk = vec![0; CHUNK];
    let mut total = 0;
    loop {
        match stream.read(&mut chunk).context("downloading")? {
            0 => break,
            n => total += n,
        }
    }
    ensure!(total > CHUNK, "a download of {total} bytes");
    Ok(())
}

/// `visitors` at once that each connect, ask once and wait for the end, again and again for `span`.
pub(in crate::bench) fn new_connections(
    target: SocketAddr,
    host: &str,
    visitors: usize,
    span: Duration,
) -> Result<Served> {
    let request = request(host, "close");
    measured(visitors, span, |end| {
        let mut latencies = Vec::new();
        while Instant::now() < end {
            let begin = Instant::now();
            ask_anew(target, request.as_bytes())?;
            latencies.push(begin.elapsed());
        }
        Ok(latencies)
    })
}

fn request(host: &str, connection: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n\r\n")
}

fn measured(
    visitors: usize,
    span: Duration,
    work: impl Fn(Instant) -> Result<Vec<Duration>> + Sync,
) -> Result<Served> {
    let begin = Instant::now();
    let mut latencies = at_once(visitors, || work(begin + span))?.concat();
    let seconds = begin.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Ok(Served { latencies, seconds })
}

fn ask_anew(target: SocketAddr, request: &[u8]) -> Result<()> {
    let mut stream = connect(target)?;
    stream.write_all(request)?;
    read_answer(&mut stream, BODY, &mut [0; BODY + MAX_HEAD])?;
    match stream.read(&mut [0]) {
        Ok(0) => Ok(()),
        // The whole answer is here; some systems close with a reset.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Ok(_) => bail!("more than one answer"),
        Err(error) => Err(error).context("waiting for the end of the connection"),
    }
}

/// Reads one answer of the upstream's into a buffer that holds it: 200, and `body` bytes whatever head a proxy gave
/// it.
fn read_answer(stream: &mut TcpStream, body: usize, answer: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    let mut wanted = None;
    while wanted.is_none_or(|wanted| filled < wanted) {
        let read = stream.read(&mut answer[filled..]).context("waiting for an answer")?;
        ensure!(read > 0, "the connection ended in the middle of an answer");
        filled += read;
        if wanted.is_none() {
            let head = answer[..filled].windows(4).position(|window| window == b"\r\n\r\n");
            wanted = head.map(|head| head + 4 + body);
        }
    }
    ensure!(
        answer.starts_with(b"HTTP/1.1 200"),
        "answered {}",
        String::from_utf8_lossy(&answer[..filled.min(80)])
    );
    ensure!(wanted == Some(filled), "an answer of {filled} bytes instead of {wanted:?}");
    Ok(())
}
