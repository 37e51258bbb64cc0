//! The multiplexer: a stream opened, used and closed; a byte there and back among few streams and among many; bulk.

use criterion::{Criterion, Throughput};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::compat::TokioAsyncReadCompatExt as _;
use tunnel_mux::{Config, Lane, Opener, Stream};

/// Streams that are open beside the one in use.
const CROWDS: [usize; 2] = [0, 1000];
/// Bytes of bulk in one go.
const BULK: usize = 1 << 20;

pub(crate) fn streams(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut group = criterion.benchmark_group("lane");
    for crowd in CROWDS {
        let mut owner = JoinSet::new();
        let opener = echoing_lane(&runtime, &mut owner);
        let _idle: Vec<Stream> = (0..crowd).map(|_| runtime.block_on(echoed(&opener))).collect();
        group.bench_function(format!("a new stream's first byte beside {crowd}"), |bencher| {
            bencher.iter(|| runtime.block_on(async { echoed(&opener).await.shutdown().await.unwrap() }));
        });
        let mut stream = runtime.block_on(echoed(&opener));
        group.bench_function(format!("one byte there and back beside {crowd}"), |bencher| {
            bencher.iter(|| runtime.block_on(exchange(&mut stream, b"x", &mut [0])));
        });
    }
    let mut owner = JoinSet::new();
    let opener = echoing_lane(&runtime, &mut owner);
    let stream = runtime.block_on(echoed(&opener));
    let (mut read, mut write) = tokio::io::split(stream);
    let (sent, mut back) = (vec![0x5a; BULK], vec![0; BULK]);
    group.throughput(Throughput::Bytes(2 * BULK as u64));
    group.bench_function("1 MiB there and back", |bencher| {
        bencher.iter(|| {
            let there = async {
                write.write_all(&sent).await.unwrap();
                write.flush().await.unwrap();
            };
            runtime.block_on(async { tokio::join!(there, read.read_exact(&mut back)) }).1.unwrap();
        });
    });
    group.finish();
}

/// A stream whose first byte has come back.
async fn echoed(opener: &Opener) -> Stream {
    let mut stream = opener.open().await.unwrap();
    exchange(&mut stream, b"x", &mut [0]).await;
    stream
}

async fn exchange(stream: &mut Stream, sent: &[u8], back: &mut [u8]) {
    stream.write_all(sent).await.unwrap();
    stream.flush().await.unwrap();
    stream.read_exact(back).await.unwrap();
}

/// A lane over a pipe of memory, whose other end sends back what comes on each stream.
fn echoing_lane(runtime: &Runtime, owner: &mut JoinSet<()>) -> Opener {
    let _runtime = runtime.enter();
    let (near, far) = tokio::io::duplex(256 << 10);
    // The opener's end and the other one.
    let config = Config { max_streams: 2048, ..Config::default() };
    let near = tunnel_mux::server(near.compat(), &config);
    let Lane { mut incoming, driver, .. } = tunnel_mux::client(far.compat(), &config);
    owner.spawn(async move { drop(near.driver.await) });
    owner.spawn(async move { drop(driver.await) });
    owner.spawn(async move {
        let mut echoes = JoinSet::new();
        while let Some(stream) = incoming.accept().await {
            echoes.spawn(echo(stream));
            while echoes.try_join_next().is_some() {}
        }
    });
    near.opener
}

async fn echo(stream: Stream) {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut bytes = vec![0; PIECE];
    while let Ok(length @ 1..) = read.read(&mut bytes).await {
        if write.write_all(&bytes[..length]).await.is_err() || write.flush().await.is_err() {
            return;
        }
    }
    // The visitor's end decides when it is over.
    let _closed = write.shutdown().await;
}

/// What the echo takes at a time, in bytes.
const PIECE: usize = 16 << 10;
