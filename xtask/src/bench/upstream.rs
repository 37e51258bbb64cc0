//! The service behind every tunnel, in a process of its own, so that its CPU time is nobody's but its own.
//!
//! Datagrams to the same port are sent back as they came. The first byte of a connection says what is wanted:
//!
//! | first | then | answer |
//! |---|---|---|
//! | `d` | milliseconds, 4 bytes, big endian | bytes for so long, and the end |
//! | `u` | bytes, and the end | how many came, 8 bytes, big endian, and the end |
//! | `e` | bytes | the same bytes |
//! | `G` | the rest of an HTTP request without a body | 1 KiB of text, or 16 for `/object`; keep-alive unless the request says `close`. For `/download/MS` bytes for so many milliseconds, and the end |

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::keeper::Keeper;
use super::place::Place;
use super::process::Process;

/// Bytes of one read or write of bulk.
const CHUNK: usize = 256 << 10;
/// Longest request head.
pub(super) const MAX_HEAD: usize = 8 << 10;
/// Longest datagram.
const MAX_DATAGRAM: usize = 64 << 10;
/// Ports tried for one that both protocols have free.
const PORTS_TRIED: usize = 20;
/// Length of an HTTP body: a small object, so that what is measured is the cost of the exchange.
pub(super) const BODY: usize = 1 << 10;
/// Length of an object of a page.
pub(super) const OBJECT: usize = 16 << 10;
/// Threads need little more than a chunk's address; the default of 2 MiB is address space for thousands of them.
const STACK: usize = 128 << 10;

/// The running upstream.
#[derive(Debug)]
pub(super) struct Upstream<'k> {
    _process: Process<'k>,
    address: SocketAddr,
}

impl<'k> Upstream<'k> {
    /// Starts it.
    ///
    /// # Errors
    /// When this very program can't be started again.
    pub(super) fn start(keeper: &'k Keeper, place: &Place) -> Result<Self> {
        let mut command = place.at_home(&std::env::current_exe()?);
        command.args(["bench-upstream", "--bind", &place.upstream_bind().to_string()]).stdout(Stdio::piped());
        let mut process = Process::start(keeper, &mut command)?;
        let output = process.child().stdout.take().context("invariant: stdout was piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address: SocketAddr = line.trim().parse().context("the upstream did not say where it listens")?;
        Ok(Self { _process: process, address })
    }

    /// Its port.
    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }
}

/// Where the upstream listens.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// At a port of the system's choice.
    #[arg(long)]
    bind: IpAddr,
}

/// The upstream's own process: `cargo xtask bench-upstream`. Prints its address and serves until killed.
///
/// # Errors
/// When it can't listen.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let (listener, datagrams) = one_port_for_both(arguments.bind)?;
    println!("{}", listener.local_addr()?);
    std::thread::Builder::new().stack_size(STACK).spawn(move || return_datagrams(&datagrams))?;
    let crew = Arc::new(Crew { listener, waiting: AtomicUsize::new(0) });
    crew.wait_for_one();
    Ok(true)
}

/// A port of the system's choice that is free for TCP and for UDP.
fn one_port_for_both(address: IpAddr) -> Result<(TcpListener, UdpSocket)> {
    for _ in 0..PORTS_TRIED {
        let listener = TcpListener::bind((address, 0))?;
        if let Ok(socket) = UdpSocket::bind(listener.local_addr()?) {
            return Ok((listener, socket));
        }
    }
    anyhow::bail!("no port of {PORTS_TRIED} was free for UDP too")
}

fn return_datagrams(socket: &UdpSocket) {
    let mut datagram = vec![0; MAX_DATAGRAM];
    loop {
        // What can't be received or sent is lost, as datagrams are.
        let Ok((length, visitor)) = socket.recv_from(&mut datagram) else { continue };
        let _ = socket.send_to(&datagram[..length], visitor);
    }
}

/// Threads that take one connection after the other. One of them is always free, so that a new connection doesn't wait
/// for a thread to be made.
struct Crew {
    listener: TcpListener,
    waiting: AtomicUsize,
}

impl Crew {
    fn wait_for_one(self: &Arc<Self>) {
        loop {
            self.waiting.fetch_add(1, Ordering::AcqRel);
            let accepted = self.listener.accept();
            if self.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
                let crew = Arc::clone(self);
                let next = std::thread::Builder::new().stack_size(STACK).spawn(move || crew.wait_for_one());
                if let Err(error) = next {
                    eprintln!("upstream: no thread for the next visitor: {error}");
                }
            }
            if let Ok((stream, _)) = accepted {
                // A visitor that hangs up is the bench's to notice.
                let _ = serve(stream);
            }
        }
    }
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut wanted = [0];
    stream.read_exact(&mut wanted)?;
    match wanted[0] {
        b'd' => send(&mut stream),
        b'u' => count(&mut stream),
        b'e' => echo(&mut stream),
        first => answer_http(&mut stream, first),
    }
}

fn send(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut millis = [0; 4];
    stream.read_exact(&mut millis)?;
    send_for(stream, u32::from_be_bytes(millis))
}

fn send_for(stream: &mut TcpStream, millis: u32) -> std::io::Result<()> {
    let end = Instant::now() + Duration::from_millis(millis.into());
    let chunk = vec![0x5a; CHUNK];
    while Instant::now() < end {
        stream.write_all(&chunk)?;
    }
    Ok(())
}

fn count(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut total = 0;
    loop {
        match stream.read(&mut chunk)? {
            0 => return stream.write_all(&u64::to_be_bytes(total)),
            n => total += n as u64,
        }
    }
}

fn echo(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut bytes = [0; 512];
    loop {
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            n => stream.write_all(&bytes[..n])?,
        }
    }
}

fn answer_http(stream: &mut TcpStream, first: u8) -> std::io::Result<()> {
    let answer = |body: usize| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {body}\r\n\r\n");
        head + &"x".repeat(body)
    };
    let (small, object) = (answer(BODY), answer(OBJECT));
    let mut head = [0; MAX_HEAD];
    head[0] = first;
    let mut filled = 1;
    loop {
        while !head[..filled].ends_with(b"\r\n\r\n") {
            match stream.read(&mut head[filled..])? {
                0 => return Ok(()),
                n => filled += n,
            }
        }
        if let Some(millis) = download_of(&head[..filled]) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            return send_for(stream, millis);
        }
        let answer = if head.starts_with(b"GET /object ") { &object } else { &small };
        stream.write_all(answer.as_bytes())?;
        if says_close(&head[..filled]) {
            return Ok(());
        }
        filled = 0;
    }
}

/// For how many milliseconds a download is wanted, if one is.
fn download_of(head: &[u8]) -> Option<u32> {
    let target = head.strip_prefix(b"GET /download/")?.split(|byte| *byte == b' ').next()?;
    str::from_utf8(target).ok()?.parse().ok()
}

/// Whether a head has `Connection: close`, as the clients at hand write it.
///
/// Line by line: a proxy's longer head must not cost the upstream noticeably more than a relay's.
fn says_close(head: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n').any(|line| line.eq_ignore_ascii_case(b"connection: close\r"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_says_how_long() {
        assert_eq!(download_of(b"GET /download/1500 HTTP/1.1\r\nHost: a\r\n\r\n"), Some(1500));
        assert_eq!(download_of(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), None);
    }

    #[test]
    fn close_is_found_in_any_case() {
        assert!(says_close(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        assert!(says_close(b"GET / HTTP/1.1\r\nconnection: Close\r\n\r\n"));
        assert!(!says_close(b"GET / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n"));
    }
}
