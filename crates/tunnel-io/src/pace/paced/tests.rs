//! What streams that share a limit may count on, by a clock that the tests turn.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::*;

/// A stream at this pace, and its peer.
fn paced(pace: &Arc<Pace>) -> (Paced<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(1 << 20);
    (Paced::new(near, Some(pace.clone())), far)
}

/// How many bytes `limit` allows in `millis` at most: a burst, and one turn that may always be taken.
fn allowed(limit: u64, millis: u64) -> u64 {
    limit * (millis + 100) / 1000 + 16 * 1024
}

#[tokio::test(start_paused = true)]
async fn bytes_come_through_whole_at_the_pace_both_ways() {
    let pace = Arc::new(Pace::new(100_000));
    let (mut near, far) = paced(&pace);
    let (mut far_read, mut far_write) = tokio::io::split(far);
    let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let start = Instant::now();
    far_write.write_all(&sent).await.unwrap();
    far_write.shutdown().await.unwrap();
    let mut heard = Vec::new();
    near.read_to_end(&mut heard).await.unwrap();
    assert!(heard == sent);
    let took = u64::try_from(start.elapsed().as_millis()).unwrap();
    assert!((2_800..=3_000).contains(&took), "{took} ms");

    let start = Instant::now();
    let (heard, ()) = tokio::join!(
        async {
            let mut heard = Vec::new();
            far_read.read_to_end(&mut heard).await.unwrap();
            heard
        },
        async {
            near.write_all(&sent).await.unwrap();
            near.shutdown().await.unwrap();
        }
    );
    assert!(heard == sent);
    let took = u64::try_from(start.elapsed().as_millis()).unwrap();
    assert!((2_800..=3_000).contains(&took), "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn many_share_it_alike_and_none_starves() {
    const LIMIT: u64 = 1_000_000;
    let pace = Arc::new(Pace::new(LIMIT));
    let mut readers = JoinSet::new();
    for index in 0..20_u64 {
        let (mut near, mut far) = paced(&pace);
        readers.spawn(async move {
            far.write_all(&vec![0; 1 << 20]).await.unwrap();
            // Some ask for much at a time, some for little.
            let mut piece = vec![0; if index % 2 == 0 { 64 * 1024 } else { 12_000 }];
            let mut read = 0;
            let _ = timeout(Duration::from_secs(10), async {
                loop {
                    read += near.read(&mut piece).await.unwrap() as u64;
                }
            })
            .await;
            drop(far);
            read
        });
    }
    let each = readers.join_all().await;
    let all: u64 = each.iter().sum();
    assert!(all <= allowed(LIMIT, 10_000), "{all} bytes in 10 s");
    assert!(all >= LIMIT * 9, "{all} bytes in 10 s");
    let (least, most) = (each.iter().min().unwrap(), each.iter().max().unwrap());
    // Who came first had the burst; from then on all had as much.
    assert!(most - least <= allowed(LIMIT, 0), "{each:?}");
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_comes_and_goes_keeps_to_it_too() {
    const LIMIT: u64 = 50_000;
    let pace = Arc::new(Pace::new(LIMIT));
    let start = Instant::now();
    let mut readers = JoinSet::new();
    for _ in 0..200 {
        let (mut near, mut far) = paced(&pace);
        readers.spawn(async move {
            far.write_all(&[0; 1_000]).await.unwrap();
            near.read_exact(&mut [0; 1_000]).await.unwrap();
        });
    }
    readers.join_all().await;
    let took = u64::try_from(start.elapsed().as_millis()).unwrap();
    assert!(200_000 <= allowed(LIMIT, took), "200 kB in {took} ms");
}

#[tokio::test(start_paused = true)]
async fn who_waits_holds_up_nobody_and_is_not_read() {
    let pace = Arc::new(Pace::new(1_000));
    let (mut near, mut far) = paced(&pace);
    far.write_all(&[7; 5_000]).await.unwrap();
    near.read_exact(&mut [0; 512]).await.unwrap();
    // The limit's other side is another limit, and other streams have their own way.
    near.write_all(b"hello").await.unwrap();
    let (mut other, mut other_far) = duplex(64);
    other_far.write_all(b"free").await.unwrap();
    other.read_exact(&mut [0; 4]).await.unwrap();
    // A reader that gives up in between loses nothing.
    let mut piece = [0; 100];
    assert!(timeout(Duration::from_millis(1), near.read(&mut piece)).await.is_err());
    let mut rest = Vec::new();
    drop(far);
    near.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, [7; 5_000 - 512]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_lifted_is_none() {
    let pace = Arc::new(Pace::new(1_000));
    let (mut near, mut far) = paced(&pace);
    far.write_all(&[0; 100_000]).await.unwrap();
    near.read_exact(&mut [0; 1_000]).await.unwrap();
    pace.set(0);
    let start = Instant::now();
    near.read_exact(&mut [0; 99_000]).await.unwrap();
    // What was granted before keeps its time.
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_it_is_the_stream() {
    let (near, mut far) = duplex(1 << 20);
    let mut near = Paced::new(near, None);
    far.write_all(&[1; 100_000]).await.unwrap();
    let mut piece = vec![0; 100_000];
    assert_eq!(near.read(&mut piece).await.unwrap(), 100_000, "in one read");
    assert_eq!(near.write(&piece).await.unwrap(), 100_000, "in one write");
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_changes_changes_streams_under_way() {
    let pace = Arc::new(Pace::new(0));
    let (mut near, mut far) = paced(&pace);
    far.write_all(&[0; 1 << 20]).await.unwrap();
    let mut chunk = [0; 64 << 10];
    let start = Instant::now();
    near.read_exact(&mut chunk).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO, "no limit yet");

    pace.set(10_000);
    near.read_exact(&mut chunk[..10_000]).await.unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(800), "{took:?}");

    // At this one, a turn takes minutes.
    pace.set(1);
    let waiting = timeout(Duration::from_secs(60), near.read_exact(&mut chunk)).await;
    assert!(waiting.is_err());
    let start = Instant::now();
    let (read, ()) = tokio::join!(near.read_exact(&mut chunk), async { pace.set(0) });
    read.unwrap();
    assert!(start.elapsed() <= Duration::from_millis(500), "{:?}", start.elapsed());
}
