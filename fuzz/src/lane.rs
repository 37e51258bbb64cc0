//! A lane whose peer has written all it ever will and then ended: the driver must end too, with nothing left open,
//! whether the peer reads what we answer or not, and whatever those who hold the streams do.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::executor::LocalPool;
use futures::io::{AsyncRead, AsyncWrite};
use futures::task::{LocalFutureObj, LocalSpawnExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tunnel_mux::{Config, Incoming, Lane, Opener, Stream};

use crate::{cut, memory};

/// What a lane may hold beside the frames: its socket buffers, yamux's, and the body announced last (1 MiB).
const FLOOR: usize = 2 << 20;
/// How many times its size a frame may cost while it waits for a reader; a body of one byte costs most.
const GROWTH: usize = 16;
/// How much our own writers may have waiting: a few frames for each stream.
const WRITTEN: usize = 4 << 20;

/// Runs the server's end of a lane until nothing moves any more, and checks that it is over by then.
pub(crate) fn run(bytes: Vec<u8>) {
    // Small, so that a fuzzer can reach the limits.
    let config = Config { max_streams: 4, accept_queue: 8, ..Config::default() };
    let most = FLOOR + WRITTEN + GROWTH * bytes.len();
    memory::within(most, || {
        let mut pool = LocalPool::new();
        let seed = cut::hash(&bytes);
        let Lane { opener, incoming, driver, .. } = tunnel_mux::server(Tape::new(bytes), &config);
        let spawner = pool.spawner();
        let mut tasks: Vec<(&str, LocalFutureObj<'_, ()>)> = vec![
            // Whatever the end is, an error or none.
            ("the driver", Box::new(driver.map(drop)).into()),
            ("who accepts", Box::new(accept(incoming, seed)).into()),
        ];
        for n in 0..5 {
            tasks.push(("a visitor", Box::new(visit(opener.clone(), seed.rotate_left(7 * n))).into()));
        }
        let spawn =
            |(name, task)| (name, spawner.spawn_local_with_handle(task).expect("invariant: the pool lives"));
        let running: Vec<_> = tasks.into_iter().map(spawn).collect();
        // Nobody outside can wake anything: what is not done when this returns never will be.
        pool.run_until_stalled();
        for (name, task) in running {
            assert!(task.now_or_never().is_some(), "{name} waits for ever on a lane whose socket ended");
        }
        assert!(opener.is_closed());
        assert_eq!(opener.live(), 0, "streams are left");
    });
}

/// Does one of several things with each stream that the peer opens.
async fn accept(mut incoming: Incoming, seed: u64) {
    let mut state = seed;
    let mut held = Vec::new();
    while let Some(stream) = incoming.accept().await {
        state = cut::next(state);
        match state >> 61 {
            0 => drop(stream),
            1 => held.push(stream),
            how => held.extend(use_stream(stream, how).await),
        }
    }
}

/// Opens streams as a visitor does, one after the other, and uses each.
async fn visit(opener: Opener, seed: u64) {
    let mut state = seed;
    for _ in 0..4 {
        let Ok(stream) = opener.open().await else { return };
        state = cut::next(state);
        drop(use_stream(stream, state >> 61).await);
    }
}

/// Reads, writes, shuts down; gives the stream back if it is to be kept.
async fn use_stream(mut stream: Stream, how: u64) -> Option<Stream> {
    let mut buffer = [0; 1000];
    if how & 1 == 0 && stream.write_all(&buffer).await.is_err() {
        return None;
    }
    if how & 2 == 0 {
        stream.shutdown().await.ok()?;
    }
    if how & 4 == 0 {
        while stream.read(&mut buffer).await.ok()? > 0 {}
    }
    Some(stream)
}

/// A socket that holds all its peer will ever write.
struct Tape {
    bytes: Vec<u8>,
    read: usize,
    /// How much more of ours the peer takes before it stops reading.
    room: usize,
    state: u64,
}

impl Tape {
    fn new(bytes: Vec<u8>) -> Self {
        let state = cut::hash(&bytes);
        let room = [usize::MAX, usize::MAX, 100_000, 50][(state >> 20) as usize % 4];
        Self { bytes, read: 0, room, state }
    }

    /// How much to move this time.
    fn piece(&mut self) -> usize {
        self.state = cut::next(self.state);
        [1, 13, 4096, usize::MAX][(self.state >> 62) as usize]
    }
}

impl AsyncRead for Tape {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.state = cut::next(self.state);
        // Time for everybody else.
        if self.state >> 62 == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let n = self.piece().min(buf.len()).min(self.bytes.len() - self.read);
        buf[..n].copy_from_slice(&self.bytes[self.read..self.read + n]);
        self.read += n;
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for Tape {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let n = self.piece().min(buf.len()).min(self.room);
        // A peer that doesn't read never wakes us.
        if n == 0 && !buf.is_empty() {
            return Poll::Pending;
        }
        self.room -= n;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
