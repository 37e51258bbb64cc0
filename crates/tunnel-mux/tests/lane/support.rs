//! Two ends of a lane, and sockets that behave badly on purpose.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncWrite};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use tunnel_mux::{Activity, Config, Incoming, Lane, LaneError, Opener, Stream};

/// One end of a lane whose driver runs.
pub(crate) struct End {
    pub(crate) opener: Opener,
    pub(crate) incoming: Incoming,
    pub(crate) activity: Activity,
    pub(crate) driver: AbortHandle,
}

/// Both ends.
pub(crate) struct Pair {
    pub(crate) client: End,
    pub(crate) server: End,
    pub(crate) drivers: JoinSet<Result<(), LaneError>>,
}

impl Pair {
    pub(crate) fn over<A, B>(a: A, b: B, config: &Config) -> Self
    where
        A: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        B: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut drivers = JoinSet::new();
        let client = run(tunnel_mux::client(a, config), &mut drivers);
        let server = run(tunnel_mux::server(b, config), &mut drivers);
        Self { client, server, drivers }
    }

    /// Over a pipe that holds `pipe` bytes each way.
    pub(crate) fn piped(pipe: usize, config: &Config) -> Self {
        let (a, b) = tokio::io::duplex(pipe);
        Self::over(a.compat(), b.compat(), config)
    }

    /// Over such a pipe, with two ends that differ.
    pub(crate) fn ends(pipe: usize, client: &Config, server: &Config) -> Self {
        let (a, b) = tokio::io::duplex(pipe);
        let mut drivers = JoinSet::new();
        let client = run(tunnel_mux::client(a.compat(), client), &mut drivers);
        let server = run(tunnel_mux::server(b.compat(), server), &mut drivers);
        Self { client, server, drivers }
    }

    pub(crate) async fn tcp(config: &Config) -> Self {
        let (a, b) = tcp_sockets().await;
        Self::over(a.compat(), b.compat(), config)
    }

    /// A stream opened by the client, and its other end. `hello` has already crossed.
    pub(crate) async fn stream(&mut self) -> (Stream, Stream) {
        let mut near = self.client.opener.open().await.unwrap();
        near.write_all(b"hello").await.unwrap();
        let mut far = self.server.incoming.accept().await.unwrap();
        let mut hello = [0; 5];
        far.read_exact(&mut hello).await.unwrap();
        assert_eq!((&hello, near.id()), (b"hello", far.id()));
        (near, far)
    }
}

pub(crate) fn run(lane: Lane, drivers: &mut JoinSet<Result<(), LaneError>>) -> End {
    let Lane { opener, incoming, driver, activity } = lane;
    let driver = drivers.spawn(driver);
    End { opener, incoming, activity, driver }
}

pub(crate) async fn tcp_sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// Fails a test that hangs. Far longer than any of them takes.
pub(crate) async fn in_time<F: Future>(test: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(300), test).await.expect("the test hangs")
}

/// `len` bytes that differ by `seed` and position.
pub(crate) fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| ((i / 251) ^ (i % 251) ^ seed).to_le_bytes()[0]).collect()
}

/// Waits, by letting everything else run, until `done`.
pub(crate) async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

/// A socket that moves one byte a call.
pub(crate) struct Splitting(pub Compat<DuplexStream>);

impl AsyncRead for Splitting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, &mut buf[..1])
    }
}

impl AsyncWrite for Splitting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, &buf[..1])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// A socket that counts how often it is written to.
pub(crate) struct Counted<T>(T, Writes);

/// How often a [`Counted`] socket was written to.
#[derive(Clone, Default)]
pub(crate) struct Writes(Arc<AtomicUsize>);

impl<T> Counted<T> {
    pub(crate) fn new(io: T) -> (Self, Writes) {
        let writes = Writes::default();
        (Self(io, writes.clone()), writes)
    }
}

impl Writes {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.1.0.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// A socket whose writing can be stopped, as by a peer that no longer reads.
pub(crate) struct Gated<T> {
    pub(crate) io: T,
    pub(crate) gate: Gate,
}

/// Stops and resumes a [`Gated`] socket.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gate {
    pub(crate) fn shut(&self) {
        self.0.lock().unwrap().0 = true;
    }

    pub(crate) fn open(&self) {
        let mut gate = self.0.lock().unwrap();
        gate.0 = false;
        if let Some(waker) = gate.1.take() {
            waker.wake();
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gated<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gated<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        {
            let mut gate = self.gate.0.lock().unwrap();
            if gate.0 {
                gate.1 = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
