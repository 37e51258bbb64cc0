//! Full pipes: nothing freezes, and one stream's slowness stays its own.

use crate::support::{Pair, Splitting, in_time, pattern, run};
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_util::compat::TokioAsyncReadCompatExt;
use tunnel_mux::{Config, Stream};

/// Sends `len` bytes both ways on `streams` streams at once, half of them opened by each end.
async fn exchange(pair: &mut Pair, streams: usize, len: usize) {
    let mut tasks = JoinSet::new();
    let mut busy = |stream: Stream, seed: usize| {
        let (mut reader, mut writer) = tokio::io::split(stream);
        tasks.spawn(async move {
            writer.write_all(&pattern(seed, len)).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        tasks.spawn(async move {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).await.unwrap();
            assert!(bytes == pattern(seed, len), "{} of {len} bytes", bytes.len());
        });
    };
    for seed in 0..streams / 2 {
        busy(pair.client.opener.open().await.unwrap(), seed);
        busy(pair.server.incoming.accept().await.unwrap(), seed);
        busy(pair.server.opener.open().await.unwrap(), seed);
        busy(pair.client.incoming.accept().await.unwrap(), seed);
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn many_streams_both_ways_through_a_tiny_pipe() {
    let mut pair = Pair::piped(1 << 10, &Config::default());
    in_time(exchange(&mut pair, 32, 600_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_streams_both_ways_on_many_threads() {
    let mut pair = Pair::tcp(&Config::default()).await;
    in_time(exchange(&mut pair, 32, 2 << 20)).await;
}

#[tokio::test]
async fn the_smallest_and_the_largest_frames() {
    for frame_size in [tunnel_mux::MIN_FRAME_SIZE, tunnel_mux::MAX_FRAME_SIZE] {
        let mut pair = Pair::piped(16 << 10, &Config { frame_size, ..Config::default() });
        in_time(exchange(&mut pair, 4, 3 << 20)).await;
    }
}

#[tokio::test]
async fn one_byte_at_a_time() {
    let (a, b) = tokio::io::duplex(64);
    let mut pair = Pair::over(Splitting(a.compat()), Splitting(b.compat()), &Config::default());
    in_time(exchange(&mut pair, 4, 50_000)).await;
}

#[tokio::test]
async fn a_stalled_reader_slows_no_other_stream() {
    let mut pair = Pair::piped(4096, &Config::default());
    let (mut stalled, mut stalled_far) = pair.stream().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        stalled.write_all(&pattern(9, 2 << 20)).await.unwrap();
        stalled.shutdown().await.unwrap();
    });
    // All of this passes while nobody reads the stalled stream.
    in_time(exchange(&mut pair, 8, 1 << 20)).await;
    assert!(tasks.try_join_next().is_none());
    let mut bytes = Vec::new();
    in_time(stalled_far.read_to_end(&mut bytes)).await.unwrap();
    assert!(bytes == pattern(9, 2 << 20));
}

#[tokio::test]
async fn behind_a_peer_that_reads_nothing_little_waits_and_nothing_is_lost() {
    const STREAMS: usize = 100;
    const WINDOW: usize = 256 << 10;
    let (a, b) = tokio::io::duplex(4096);
    let mut drivers = JoinSet::new();
    let near = run(tunnel_mux::client(a.compat(), &Config::default()), &mut drivers);
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push((near.opener.open().await.unwrap(), 0));
    }
    let body = vec![7; WINDOW];
    let (mut taken, mut quiet) = (0, 0);
    // A stream's share of tokio's time may end early, too.
    while quiet < 10 {
        quiet += 1;
        for (stream, written) in &mut streams {
            let write = std::pin::pin!(stream.write(&body[*written..]));
            if let Some(more) = write.now_or_never() {
                let more = more.unwrap();
                (taken, *written, quiet) = (taken + more, *written + more, 0);
            }
        }
        tokio::task::yield_now().await;
    }
    // Some four MiB, and eleven small frames of each stream.
    assert!(taken < (5 << 20) + STREAMS * (48 << 10), "{taken} bytes are held of {}", STREAMS * WINDOW);

    // The peer begins to read.
    let mut far = run(tunnel_mux::server(b.compat(), &Config::default()), &mut drivers);
    let mut tasks = JoinSet::new();
    for (mut stream, written) in streams {
        let rest = body[written..].to_vec();
        tasks.spawn(async move {
            stream.write_all(&rest).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let mut reader = far.incoming.accept().await.unwrap();
        tasks.spawn(async move { assert_eq!(reader.read_to_end(&mut Vec::new()).await.unwrap(), WINDOW) });
    }
    while let Some(done) = in_time(tasks.join_next()).await {
        done.unwrap();
    }
}
