//! The relay between two sockets: bytes in pieces of the sizes that occur.

use criterion::{Criterion, Throughput};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tunnel_io::{RelayOptions, relay};

/// Bytes of one piece: a keystroke's echo, a small answer, bulk.
const PIECES: [usize; 3] = [1, 1 << 10, 64 << 10];

/// There and back through a relay, over pipes of memory, so that no system call is in it.
pub(crate) fn bytes(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut group = criterion.benchmark_group("relay");
    for piece in PIECES {
        group.throughput(Throughput::Bytes(2 * piece as u64));
        group.bench_function(format!("{piece} bytes there and back"), |bencher| {
            let mut owner = JoinSet::new();
            let mut visitor = relayed_echo(&runtime, &mut owner);
            let (sent, mut back) = (vec![0x5a; piece], vec![0; piece]);
            bencher.iter(|| {
                runtime.block_on(async {
                    visitor.write_all(&sent).await.unwrap();
                    visitor.read_exact(&mut back).await.unwrap();
                });
            });
        });
    }
    group.finish();
}

/// A visitor's end: whatever is written to it goes through a relay to an echo and comes back.
fn relayed_echo(runtime: &Runtime, owner: &mut JoinSet<()>) -> DuplexStream {
    let _runtime = runtime.enter();
    let (visitor, mut near) = tokio::io::duplex(PIPE);
    let (mut far, upstream) = tokio::io::duplex(PIPE);
    owner.spawn(async move {
        let _ended = relay(&mut near, &mut far, RelayOptions::default()).await;
    });
    owner.spawn(async move {
        let (mut read, mut write) = tokio::io::split(upstream);
        let mut bytes = vec![0; PIPE];
        while let Ok(length @ 1..) = read.read(&mut bytes).await {
            if write.write_all(&bytes[..length]).await.is_err() {
                break;
            }
        }
    });
    visitor
}

/// What a pipe holds, in bytes.
const PIPE: usize = 128 << 10;
