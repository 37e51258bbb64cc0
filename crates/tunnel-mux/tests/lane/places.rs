//! A full lane refuses one stream and goes on.

use crate::support::{End, Gate, Gated, Pair, in_time, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_util::compat::TokioAsyncReadCompatExt;
use tunnel_mux::{Config, OpenError};

fn small(max_streams: usize) -> Config {
    Config { max_streams, ..Config::default() }
}

/// Answers every stream with its bytes until the lane is gone.
async fn echo(mut end: End) {
    let mut tasks = JoinSet::new();
    while let Some(stream) = end.incoming.accept().await {
        tasks.spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(stream);
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
            let _ = writer.shutdown().await;
        });
        while tasks.try_join_next().is_some() {}
    }
}

#[tokio::test]
async fn a_full_lane_refuses_at_once_and_recovers() {
    let mut pair = Pair::piped(4096, &small(3));
    let opener = pair.client.opener.clone();
    assert_eq!(opener.capacity(), 3);
    let mut held = vec![pair.stream().await, pair.stream().await, pair.stream().await];
    assert_eq!(opener.open().await.unwrap_err(), OpenError::Full);
    assert_eq!(opener.try_reserve().unwrap_err(), OpenError::Full);
    assert_eq!(pair.server.opener.open().await.unwrap_err(), OpenError::Full, "either end counts");
    held.pop();
    let reserved = opener.try_reserve().unwrap();
    assert_eq!(opener.open().await.unwrap_err(), OpenError::Full, "a reservation counts");
    drop(reserved.open().await.unwrap());
    drop(held);
    assert_eq!(opener.live(), 0);
    pair.stream().await;
}

#[tokio::test]
async fn a_stream_may_take_no_place_and_need_none() {
    let mut pair = Pair::piped(4096, &small(4));
    let opener = pair.client.opener.clone();
    let held = pair.stream().await;
    let beside = opener.try_reserve_beside(4).unwrap();
    assert_eq!((opener.live(), opener.beside()), (1, 1));
    assert_eq!(opener.try_reserve_beside(4).unwrap_err(), OpenError::Full, "half the budget at most");
    let beside = beside.open().await.unwrap();
    let rest = [pair.stream().await, pair.stream().await, pair.stream().await];
    assert_eq!(opener.open().await.unwrap_err(), OpenError::Full);
    drop(beside);
    assert_eq!((opener.live(), opener.beside()), (4, 0));
    assert_eq!(opener.open().await.unwrap_err(), OpenError::Full, "it gives no place back either");
    drop((held, rest));
    assert_eq!(opener.live(), 0);
}

#[tokio::test]
async fn twenty_thousand_streams_leave_nothing_behind() {
    let Pair { client, server, mut drivers } = Pair::piped(16 << 10, &small(64));
    let (opener, far_opener) = (client.opener.clone(), server.opener.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(echo(server));
    in_time(async {
        for round in 0..20_000 {
            let mut stream = opener.open().await.unwrap();
            match round % 4 {
                0 => {}
                1 => stream.write_all(b"never read").await.unwrap(),
                2 => {
                    stream.write_all(b"x").await.unwrap();
                    stream.shutdown().await.unwrap();
                }
                _ => {
                    stream.write_all(b"x").await.unwrap();
                    stream.shutdown().await.unwrap();
                    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 1);
                }
            }
        }
        until(|| opener.live() == 0 && far_opener.live() == 0).await;
    })
    .await;
    assert!(drivers.try_join_next().is_none());
}

#[tokio::test]
async fn two_thousand_streams_at_once() {
    let config = small(2000);
    let pair = Pair::tcp(&config).await;
    let Pair { client, server, drivers: _drivers } = pair;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut server = server;
        let mut held = Vec::new();
        while let Some(mut stream) = server.incoming.accept().await {
            stream.write_all(b"!").await.unwrap();
            held.push(stream);
        }
    });
    in_time(async {
        let mut opens = JoinSet::new();
        for _ in 0..2000 {
            let opener = client.opener.clone();
            opens.spawn(async move {
                let mut stream = opener.open().await.unwrap();
                stream.write_all(b"?").await.unwrap();
                let mut answer = [0];
                stream.read_exact(&mut answer).await.unwrap();
                assert_eq!(&answer, b"!");
                stream
            });
        }
        let streams = opens.join_all().await;
        assert_eq!((streams.len(), client.opener.live()), (2000, 2000));
        assert_eq!(client.opener.open().await.unwrap_err(), OpenError::Full);
    })
    .await;
}

#[tokio::test]
async fn opens_beyond_the_unanswered_wait_and_cancel_cleanly() {
    let mut pair = Pair::piped(64 << 10, &small(1000));
    let opener = pair.client.opener.clone();
    let mut unanswered = Vec::new();
    for _ in 0..256 {
        let mut stream = opener.open().await.unwrap();
        stream.write_all(b"?").await.unwrap();
        unanswered.push(stream);
    }
    let mut waiting = JoinSet::new();
    for _ in 0..100 {
        let opener = opener.clone();
        waiting.spawn(async move { opener.open().await });
    }
    until(|| opener.live() == 356).await;
    waiting.abort_all();
    while waiting.join_next().await.is_some() {}
    assert_eq!(opener.live(), 256);
    // One that goes on waiting gets in when a stream is answered.
    let late = opener.clone();
    waiting.spawn(async move { late.open().await });
    until(|| opener.live() == 257).await;
    let mut answered = pair.server.incoming.accept().await.unwrap();
    answered.write_all(b"!").await.unwrap();
    let stream = in_time(waiting.join_next()).await.unwrap().unwrap().unwrap();
    drop((stream, unanswered, answered));
    until(|| opener.live() == 0).await;
}

#[tokio::test]
async fn a_blocked_socket_never_takes_a_lane_over_yamuxs_limit() {
    let (a, b) = tokio::io::duplex(4096);
    let gate = Gate::default();
    let config = small(8);
    let pair = Pair::over(Gated { io: a.compat(), gate: gate.clone() }, b.compat(), &config);
    let Pair { client, server, mut drivers } = pair;
    let mut tasks = JoinSet::new();
    tasks.spawn(echo(server));
    let opener = client.opener.clone();
    in_time(async {
        gate.shut();
        // Fill what the lane buffers, so that yamux itself is stuck in the middle of a frame.
        let mut stuck = opener.open().await.unwrap();
        stuck.write_all(&[1; 150 << 10]).await.unwrap();
        let mut refused = 0;
        for _ in 0..5000 {
            match opener.open().await {
                Ok(mut stream) => stream.write_all(b"x").await.unwrap(),
                Err(error) => {
                    assert_eq!(error, OpenError::Full);
                    refused += 1;
                }
            }
        }
        assert!(refused > 4000, "{refused} refused");
        assert!(drivers.try_join_next().is_none(), "the lane died");
        gate.open();
        // What piled up drains, and the lane opens streams again.
        let mut stream = loop {
            match opener.open().await {
                Ok(stream) => break stream,
                Err(error) => assert_eq!(error, OpenError::Full),
            }
            tokio::task::yield_now().await;
        };
        stream.write_all(b"ping").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"ping");
        drop(stuck);
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_is_slow_to_let_go_costs_streams_and_not_the_lane() {
    let mut pair = Pair::piped(4096, &small(8));
    in_time(async {
        // The server's users hold on to streams long after the client dropped them.
        let mut hoard = Vec::new();
        let mut refused = 0;
        for _ in 0..200 {
            let mut near = pair.client.opener.open().await.unwrap();
            near.write_all(b"x").await.unwrap();
            let mut byte = [0];
            tokio::select! {
                biased;
                end = near.read(&mut byte) => {
                    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
                    refused += 1;
                }
                far = pair.server.incoming.accept() => hoard.push(far.unwrap()),
            }
        }
        assert_eq!((hoard.len(), refused), (2 * 8 + 64 - 1, 200 - (2 * 8 + 64 - 1)));
        assert!(pair.drivers.try_join_next().is_none(), "the lane died");
        hoard.clear();
        until(|| pair.server.opener.live() == 0).await;
        pair.stream().await;
    })
    .await;
}

#[tokio::test]
async fn a_full_accept_queue_resets_the_stream() {
    let mut pair = Pair::piped(64 << 10, &Config { accept_queue: 2, ..Config::default() });
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = pair.client.opener.open().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        streams.push(stream);
    }
    for refused in &mut streams[2..] {
        let error = refused.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    for stream in &mut streams[..2] {
        let mut far = pair.server.incoming.accept().await.unwrap();
        far.write_all(b"y").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
    }
}

#[tokio::test]
async fn an_end_that_accepts_no_more_resets_streams() {
    let Pair { client, server, drivers: _drivers } = Pair::piped(4096, &Config::default());
    let End { incoming, opener, .. } = server;
    drop(incoming);
    let mut stream = client.opener.open().await.unwrap();
    stream.write_all(b"x").await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    // The other direction still works.
    opener.open().await.unwrap();
}
