//! How streams carry bytes and how they end, over a pipe, over TCP and one byte at a time.

use std::io::ErrorKind;

use crate::support::{Pair, Splitting, in_time, pattern};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::compat::TokioAsyncReadCompatExt;
use tunnel_mux::{Config, Stream, is_lane_lost};

async fn every_pair() -> Vec<Pair> {
    let config = Config::default();
    let (a, b) = tokio::io::duplex(4096);
    vec![
        Pair::piped(64 << 10, &config),
        Pair::piped(1, &config),
        Pair::tcp(&config).await,
        Pair::over(Splitting(a.compat()), Splitting(b.compat()), &config),
    ]
}

/// Reads until the stream ends or fails: what came, and how it ended.
async fn drain(stream: &mut Stream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).await;
    (bytes, end.map(|_| ()).map_err(|error| error.kind()))
}

/// Writes until it fails.
async fn write_until_refused(stream: &mut Stream) -> std::io::Error {
    loop {
        if let Err(error) = stream.write_all(&[0; 4096]).await {
            return error;
        }
    }
}

#[tokio::test]
async fn echo_with_half_closes_both_ways() {
    for mut pair in every_pair().await {
        in_time(async {
            let (mut near, mut far) = pair.stream().await;
            let sent = pattern(1, 20_000);
            let echo = async {
                let (got, end) = drain(&mut far).await;
                assert_eq!(end, Ok(()));
                far.write_all(&got).await.unwrap();
                far.shutdown().await.unwrap();
            };
            let ask = async {
                near.write_all(&sent).await.unwrap();
                near.shutdown().await.unwrap();
                near.shutdown().await.unwrap();
                assert_eq!(near.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
                drain(&mut near).await
            };
            let ((), (got, end)) = tokio::join!(echo, ask);
            assert!(got == sent);
            assert_eq!(end, Ok(()));
        })
        .await;
    }
}

#[tokio::test]
async fn either_end_opens_streams() {
    let mut pair = Pair::piped(4096, &Config::default());
    let mut near = pair.server.opener.open().await.unwrap();
    near.write_all(b"from the server").await.unwrap();
    near.shutdown().await.unwrap();
    let mut far = pair.client.incoming.accept().await.unwrap();
    assert_eq!(drain(&mut far).await, (b"from the server".to_vec(), Ok(())));
    assert_eq!((near.id() % 2, pair.client.opener.live(), pair.server.opener.live()), (0, 1, 1));
}

#[tokio::test]
async fn a_shutdown_without_a_byte_arrives() {
    for mut pair in every_pair().await {
        let mut near = pair.client.opener.open().await.unwrap();
        near.shutdown().await.unwrap();
        let mut far = pair.server.incoming.accept().await.unwrap();
        assert_eq!(drain(&mut far).await, (vec![], Ok(())));
        far.shutdown().await.unwrap();
        assert_eq!(drain(&mut near).await, (vec![], Ok(())));
    }
}

#[tokio::test]
async fn a_dropped_open_stream_is_a_reset_after_its_bytes() {
    for mut pair in every_pair().await {
        in_time(async {
            let (mut near, mut far) = pair.stream().await;
            near.write_all(&pattern(2, 5000)).await.unwrap();
            near.reset();
            let (got, end) = drain(&mut far).await;
            assert!(got == pattern(2, 5000));
            assert_eq!(end, Err(ErrorKind::ConnectionReset));
            assert_eq!(write_until_refused(&mut far).await.kind(), ErrorKind::ConnectionReset);
            assert_eq!(far.shutdown().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert_eq!(far.flush().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        })
        .await;
    }
}

#[tokio::test]
async fn a_reset_after_the_peers_shutdown_is_no_end() {
    for mut pair in every_pair().await {
        in_time(async {
            // The peer has sent all of its request and awaits the answer, which is cut short.
            let (mut near, mut far) = pair.stream().await;
            near.shutdown().await.unwrap();
            assert_eq!(drain(&mut far).await.1, Ok(()));
            far.write_all(b"half an ans").await.unwrap();
            far.reset();
            assert_eq!(drain(&mut near).await, (b"half an ans".to_vec(), Err(ErrorKind::ConnectionReset)));
            let error = near.read(&mut [0]).await.unwrap_err();
            assert!(!is_lane_lost(&error));
        })
        .await;
    }
}

#[tokio::test]
async fn a_reset_after_our_shutdown_keeps_what_was_sent_and_stops_the_peers_writer() {
    for mut pair in every_pair().await {
        in_time(async {
            let (mut near, mut far) = pair.stream().await;
            near.write_all(&pattern(3, 9000)).await.unwrap();
            near.shutdown().await.unwrap();
            near.reset();
            // Blocked on its window, since nobody reads; only the reset can free it.
            let error = write_until_refused(&mut far).await;
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert!(!is_lane_lost(&error));
            assert!(drain(&mut far).await == (pattern(3, 9000), Ok(())));
            far.shutdown().await.unwrap();
        })
        .await;
    }
}

#[tokio::test]
async fn a_reset_frees_a_writer_that_is_blocked_already() {
    let mut pair = Pair::piped(64 << 10, &Config::default());
    let (near, mut far) = pair.stream().await;
    let mut tasks = tokio::task::JoinSet::new();
    let mut written = 0;
    // Fill the window, then leave one write hanging on a task of its own.
    while written < 256 << 10 {
        written += far.write(&[0; 4096]).await.unwrap();
    }
    tasks.spawn(async move { far.write(b"x").await.unwrap_err().kind() });
    tokio::task::yield_now().await;
    drop(near);
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_stream_both_sides_shut_down_drops_without_a_reset() {
    for mut pair in every_pair().await {
        let (mut near, mut far) = pair.stream().await;
        near.shutdown().await.unwrap();
        far.write_all(b"bye").await.unwrap();
        far.shutdown().await.unwrap();
        assert_eq!(drain(&mut far).await.1, Ok(()));
        drop(far);
        assert_eq!(drain(&mut near).await, (b"bye".to_vec(), Ok(())));
        drop(near);
        // The lane is as good as new.
        pair.stream().await;
    }
}

#[tokio::test]
async fn a_stream_dropped_before_its_first_byte_is_never_heard_of() {
    let mut pair = Pair::piped(4096, &Config::default());
    drop(pair.client.opener.open().await.unwrap());
    let (near, _far) = pair.stream().await;
    assert_eq!(near.id(), 3);
}

#[tokio::test]
async fn both_halves_work_from_two_tasks() {
    let mut pair = Pair::tcp(&Config::default()).await;
    let (near, far) = pair.stream().await;
    let mut tasks = tokio::task::JoinSet::new();
    for stream in [near, far] {
        let (mut reader, mut writer) = tokio::io::split(stream);
        tasks.spawn(async move {
            writer.write_all(&pattern(4, 3 << 20)).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        tasks.spawn(async move {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).await.unwrap();
            assert!(bytes == pattern(4, 3 << 20));
        });
    }
    in_time(async { while tasks.join_next().await.transpose().unwrap().is_some() {} }).await;
}

#[tokio::test]
async fn activity_counts_the_sockets_bytes() {
    let mut pair = Pair::piped(4096, &Config::default());
    let (mut near, mut far) = pair.stream().await;
    let before = (pair.client.activity.bytes_written(), pair.server.activity.bytes_read());
    near.write_all(&[0; 10_000]).await.unwrap();
    far.read_exact(&mut [0; 10_000]).await.unwrap();
    assert!(pair.client.activity.bytes_written() >= before.0 + 10_000);
    assert!(pair.server.activity.bytes_read() >= before.1 + 10_000);
}
