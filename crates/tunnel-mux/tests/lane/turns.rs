//! Taking turns: waiting for a place on a full lane, leaving some time to the others of a task, and the driver coming
//! after the streams.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use crate::support::{Counted, Gate, Gated, Pair, in_time, until};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_util::compat::TokioAsyncReadCompatExt;
use tunnel_mux::{Config, OpenError, Opener, Stream};

fn small(max_streams: usize) -> Config {
    Config { max_streams, ..Config::default() }
}

async fn open_when_vacant(opener: Opener) -> Stream {
    loop {
        let vacancy = opener.vacancy();
        match opener.open().await {
            Ok(stream) => return stream,
            Err(error) => assert_eq!(error, OpenError::Full),
        }
        vacancy.await;
    }
}

#[tokio::test]
async fn whoever_waits_for_a_vacancy_gets_in() {
    let pair = Pair::piped(4096, &small(3));
    let opener = &pair.client.opener;
    let mut waiting = JoinSet::new();
    in_time(async {
        for _ in 0..200 {
            waiting.spawn(open_when_vacant(opener.clone()));
        }
        // Each that gets in leaves at once, and one that gives up is no loss to the others.
        for place in 0..150 {
            drop(waiting.join_next().await.unwrap().unwrap());
            if place % 3 == 0 {
                drop(opener.vacancy());
            }
        }
        waiting.abort_all();
        while waiting.join_next().await.is_some() {}
        until(|| opener.live() == 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_place_given_back_between_the_look_and_the_wait_is_not_missed() {
    let pair = Pair::piped(4096, &small(1));
    let opener = &pair.client.opener;
    let held = opener.open().await.unwrap();
    // One may be left from before, by nobody's leave.
    let _ = futures::poll!(pin!(opener.vacancy()));
    let (first, second) = (opener.vacancy(), opener.vacancy());
    assert_eq!(opener.try_reserve().unwrap_err(), OpenError::Full);
    drop(held);
    drop(first);
    in_time(second).await;
    opener.try_reserve().unwrap();
}

#[tokio::test]
async fn the_end_of_a_lane_is_a_vacancy() {
    let mut pair = Pair::piped(4096, &small(1));
    let opener = pair.client.opener.clone();
    let _held = opener.open().await.unwrap();
    let waits: Vec<_> = (0..3).map(|_| opener.vacancy()).collect();
    pair.client.driver.abort();
    while pair.drivers.join_next().await.is_some() {}
    for wait in waits {
        in_time(wait).await;
    }
    assert_eq!(opener.open().await.unwrap_err(), OpenError::Closed);
}

#[tokio::test]
async fn a_lane_that_could_not_tell_of_dropped_streams_is_vacant_once_it_has() {
    let (a, b) = tokio::io::duplex(4096);
    let gate = Gate::default();
    let pair = Pair::over(Gated { io: a.compat(), gate: gate.clone() }, b.compat(), &small(4));
    let opener = pair.client.opener.clone();
    in_time(async {
        gate.shut();
        let mut stuck = opener.open().await.unwrap();
        stuck.write_all(&[1; 150 << 10]).await.unwrap();
        while let Ok(mut stream) = opener.open().await {
            stream.write_all(b"x").await.unwrap();
        }
        let mut waiting = JoinSet::new();
        waiting.spawn(open_when_vacant(opener.clone()));
        tokio::task::yield_now().await;
        gate.open();
        waiting.join_next().await.unwrap().unwrap();
    })
    .await;
}

/// More than tokio lets a task do at a stretch, and far less than what is there to do.
const AT_A_STRETCH: usize = 1000;

#[tokio::test]
async fn a_flooding_stream_leaves_its_task_time_for_others() {
    let mut pair = Pair::piped(64 << 10, &Config::default());
    in_time(async {
        let (mut near, mut far) = pair.stream().await;
        let before = pair.server.activity.bytes_read();
        near.write_all(&[0; 200 << 10]).await.unwrap();
        until(|| pair.server.activity.bytes_read() - before > 200 << 10).await;
        let (mut polls, mut read) = (0, 0);
        poll_fn(|cx| {
            polls += 1;
            let at_start = read;
            let mut byte = [0];
            while read < 100 << 10 {
                if Pin::new(&mut far).poll_read(cx, &mut ReadBuf::new(&mut byte))?.is_pending() {
                    // Here a sibling has its turn.
                    assert!(read - at_start < AT_A_STRETCH, "{read} reads in one turn");
                    return Poll::Pending;
                }
                read += 1;
            }
            Poll::Ready(std::io::Result::Ok(()))
        })
        .await
        .unwrap();
        assert!(polls > 100, "{polls} turns");
        far.read_exact(&mut [0; 100 << 10]).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_takes_all_writes_leaves_its_task_time_for_others() {
    let mut pair = Pair::piped(64 << 10, &Config::default());
    in_time(async {
        let (mut near, _far) = pair.stream().await;
        // Without a turn for the driver only a few frames fit; with one, all of the window.
        let (mut longest, mut written) = (0, 0);
        poll_fn(|cx| {
            let at_start = written;
            while written < 10_000 {
                if Pin::new(&mut near).poll_write(cx, b"x")?.is_pending() {
                    longest = longest.max(written - at_start);
                    return Poll::Pending;
                }
                written += 1;
            }
            Poll::Ready(std::io::Result::Ok(()))
        })
        .await
        .unwrap();
        assert!(longest < AT_A_STRETCH, "{longest} writes in one turn");
    })
    .await;
}

// One worker, and the test as a task of it: else the test would wake the driver from a thread that isn't one.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_many_streams_have_to_say_is_soon_written_in_one_piece() {
    const STREAMS: usize = 20;
    const ROUNDS: usize = 20;
    let test = async {
        let (a, b) = tokio::io::duplex(64 << 10);
        let (a, writes) = Counted::new(a.compat());
        let mut pair = Pair::over(a, b.compat(), &Config::default());
        let (begin, mut tasks, mut far_ends) =
            (Arc::new(Barrier::new(STREAMS + 1)), JoinSet::new(), Vec::new());
        for _ in 0..STREAMS {
            let (mut near, far) = pair.stream().await;
            far_ends.push(far);
            let begin = Arc::clone(&begin);
            tasks.spawn(async move {
                for _ in 0..ROUNDS {
                    begin.wait().await;
                    near.write_all(b"x").await.unwrap();
                }
            });
        }
        let mut last = 0;
        for _ in 0..ROUNDS {
            let before = writes.get();
            begin.wait().await;
            for far in &mut far_ends {
                assert_eq!(far.read_u8().await.unwrap(), b'x');
            }
            last = writes.get() - before;
        }
        // Two more for the scheduler, which also looks at its sockets after so many tasks.
        assert!(last <= 3, "{last} writes of {STREAMS} bytes");
    };
    let mut task = JoinSet::new();
    task.spawn(test);
    in_time(task.join_next()).await.unwrap().unwrap();
}
