//! Streams nobody reads are shed once the receive budget is short; those that are read never are.

use std::io::ErrorKind;

use crate::support::{Pair, in_time, pattern, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tunnel_mux::{Budget, Config, FAIR_SHARE, Stream, is_lane_lost, is_shed};

const KIB: usize = 1 << 10;
/// What a stream can hold unread, after the greeting of [`Pair::stream`].
const WINDOW: u64 = (256 << 10) - 5;

fn within(budget: &Budget) -> Config {
    Config { receive_budget: Some(budget.clone()), ..Config::default() }
}

/// Only the server end counts, as the two ends of a test are one process.
fn pair(budget: &Budget) -> Pair {
    Pair::ends(64 * KIB, &Config::default(), &within(budget))
}

/// Writes until the window is full or the stream is reset.
fn flood(tasks: &mut JoinSet<ErrorKind>, mut stream: Stream) {
    tasks.spawn(async move {
        loop {
            if let Err(error) = stream.write_all(&[7; 8 * KIB]).await {
                return error.kind();
            }
        }
    });
}

/// Two streams that fill their windows, and that nobody reads.
async fn stall_two(pair: &mut Pair, budget: &Budget, writers: &mut JoinSet<ErrorKind>) -> Vec<Stream> {
    let mut stalled = Vec::new();
    for _ in 0..2 {
        let (near, far) = pair.stream().await;
        flood(writers, near);
        stalled.push(far);
    }
    until(|| budget.used() == 2 * WINDOW).await;
    stalled
}

/// Keeps the budget short until both stalled streams were shed: by streams that hold much, but are read.
async fn press(pair: &mut Pair, stalled: &mut JoinSet<ErrorKind>) {
    let (mut writers, mut slow) = (JoinSet::new(), Vec::new());
    for _ in 0..2 {
        let (near, far) = pair.stream().await;
        flood(&mut writers, near);
        slow.push(far);
    }
    let mut piece = [0; 4 * KIB];
    while !stalled.is_empty() {
        for far in &mut slow {
            far.read_exact(&mut piece).await.unwrap();
        }
        // The writers are ahead of whoever leaves them a turn for each piece.
        tokio::task::yield_now().await;
        while let Some(end) = stalled.try_join_next() {
            assert_eq!(end.unwrap(), ErrorKind::ConnectionReset);
        }
    }
}

#[tokio::test]
async fn a_stalled_stream_is_shed_and_a_reading_one_goes_on() {
    let budget = Budget::new(1024 * KIB);
    let mut pair = pair(&budget);
    let mut tasks = JoinSet::new();
    in_time(async {
        // Two full windows are half of the budget.
        let mut stalled = stall_two(&mut pair, &budget, &mut tasks).await;
        let (mut near, mut far) = pair.stream().await;
        let sent = pattern(5, 8 << 20);
        let send = async {
            near.write_all(&sent).await.unwrap();
            near.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let (_, read) = tokio::join!(send, far.read_to_end(&mut got));
        read.unwrap();
        assert!(got == sent);
        assert!(budget.used() <= WINDOW, "one of them was in the way");
        press(&mut pair, &mut tasks).await;
        // Their peer was told, and the memory is free though no owner moved.
        until(|| budget.used() == 0).await;
        for stream in &mut stalled {
            let error = stream.read(&mut [0]).await.unwrap_err();
            assert!(is_shed(&error) && !is_lane_lost(&error), "{error}");
            assert!(is_shed(&stream.write(b"x").await.unwrap_err()));
            assert!(is_shed(&stream.shutdown().await.unwrap_err()));
        }
    })
    .await;
    assert!(pair.drivers.try_join_next().is_none(), "the lane died");
    pair.stream().await;
}

#[tokio::test]
async fn a_stalled_stream_is_shed_on_a_lane_that_is_silent() {
    let budget = Budget::new(1024 * KIB);
    let (mut silent, mut busy) = (pair(&budget), pair(&budget));
    let mut tasks = JoinSet::new();
    in_time(async {
        let stalled = stall_two(&mut silent, &budget, &mut tasks).await;
        press(&mut busy, &mut tasks).await;
        drop(stalled);
    })
    .await;
}

#[tokio::test]
async fn a_blocked_writer_of_a_shed_stream_is_woken() {
    let budget = Budget::new(512 * KIB);
    let mut pair = pair(&budget);
    let mut tasks = JoinSet::new();
    in_time(async {
        let (near, far) = pair.stream().await;
        let (near_reader, mut near_writer) = tokio::io::split(near);
        let (far_reader, mut far_writer) = tokio::io::split(far);
        let write = async move { while far_writer.write_all(&[1; 4 * KIB]).await.is_ok() {} };
        let mut blocked = JoinSet::new();
        blocked.spawn(write);
        tasks.spawn(async move {
            while near_writer.write_all(&[2; 4 * KIB]).await.is_ok() {}
            ErrorKind::Other
        });
        until(|| budget.used() == WINDOW).await;
        let (near, mut other) = pair.stream().await;
        flood(&mut tasks, near);
        let mut read = vec![0; 16 * KIB];
        while !blocked.is_empty() {
            other.read_exact(&mut read).await.unwrap();
            while blocked.try_join_next().is_some() {}
        }
        drop((near_reader, far_reader));
    })
    .await;
}

#[tokio::test]
async fn a_used_up_budget_sheds_what_comes_beyond_the_fair_share() {
    // Too small for one window: nothing is stale when it is used up.
    let budget = Budget::new(FAIR_SHARE);
    let mut pair = pair(&budget);
    let mut tasks = JoinSet::new();
    in_time(async {
        let (near, mut far) = pair.stream().await;
        flood(&mut tasks, near);
        assert_eq!(tasks.join_next().await.unwrap().unwrap(), ErrorKind::ConnectionReset);
        assert_eq!(budget.used(), 0);
        assert!(is_shed(&far.read(&mut [0]).await.unwrap_err()));
        // A small answer comes through whatever the others hold.
        let (mut near, mut far) = pair.stream().await;
        near.write_all(&vec![1; FAIR_SHARE]).await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(far.read_to_end(&mut Vec::new()).await.unwrap(), FAIR_SHARE);
    })
    .await;
}

#[tokio::test]
async fn unread_bytes_are_off_the_books_once_dropped_or_lost() {
    let budget = Budget::new(64 << 20);
    let mut pair = pair(&budget);
    in_time(async {
        let (mut near, mut far) = pair.stream().await;
        near.write_all(&[0; 100 * KIB]).await.unwrap();
        until(|| budget.used() == 100 * KIB as u64).await;
        far.read_exact(&mut [0; 30 * KIB]).await.unwrap();
        assert_eq!(budget.used(), 70 * KIB as u64);
        drop(far);
        assert_eq!(budget.used(), 0);
        let (mut near, mut far) = pair.stream().await;
        near.write_all(&[0; 10 * KIB]).await.unwrap();
        until(|| budget.used() == 10 * KIB as u64).await;
        pair.server.driver.abort();
        while pair.drivers.join_next().await.is_some() {}
        // What came can still be read, and counts until it is.
        assert_eq!(budget.used(), 10 * KIB as u64);
        far.read_exact(&mut [0; 4 * KIB]).await.unwrap();
        drop(far);
        assert_eq!(budget.used(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_hundred_floods_that_come_and_go_leave_nothing_on_the_books() {
    let budget = Budget::new(2 << 20);
    let mut pair = pair(&budget);
    let mut tasks = JoinSet::new();
    in_time(async {
        for round in 0..100 {
            let (near, mut far) = pair.stream().await;
            flood(&mut tasks, near);
            let mut some = vec![0; 1 + round * 3 * KIB];
            match far.read_exact(&mut some).await {
                Ok(_) => {}
                Err(error) => assert!(is_shed(&error), "{error}"),
            }
        }
        while tasks.join_next().await.is_some() {}
        until(|| budget.used() == 0 && pair.server.opener.live() == 0).await;
    })
    .await;
    assert!(pair.drivers.try_join_next().is_none(), "the lane died");
}

#[tokio::test]
async fn an_owner_nobody_reads_from_harms_no_other() {
    let budget = Budget::new(2048 * KIB);
    let mut hostile = pair(&budget.apart());
    // A window that doesn't grow fits into three quarters of the half that is left at least.
    let config = Config { window_headroom: 0, ..within(&budget.apart()) };
    let mut other = Pair::ends(64 * KIB, &Config::default(), &config);
    in_time(async {
        // More than all of it, in streams that each hold no more than they always may.
        let mut stalled = Vec::new();
        for _ in 0..80 {
            let (mut near, far) = hostile.stream().await;
            // The longest unread are shed while others come.
            let _ = near.write_all(&vec![7; FAIR_SHARE]).await;
            stalled.push((near, far));
        }
        let (mut near, mut far) = other.stream().await;
        let sent = pattern(5, 8 << 20);
        let send = async {
            near.write_all(&sent).await.unwrap();
            near.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let (_, read) = tokio::join!(send, far.read_to_end(&mut got));
        read.unwrap();
        assert!(got == sent);
    })
    .await;
}
