//! A lane that goes away takes its streams with it: promptly, and as a lost lane, never as an end.

use std::io::{self, ErrorKind};

use crate::support::{Pair, in_time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_util::compat::TokioAsyncReadCompatExt;
use tunnel_mux::{Config, LaneError, OpenError, Stream, is_lane_lost};

fn assert_lost(error: &io::Error) {
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert!(is_lane_lost(error));
}

async fn fill(stream: &mut Stream) -> io::Error {
    loop {
        if let Err(error) = stream.write_all(&[0; 4096]).await {
            return error;
        }
    }
}

/// Readers and writers that are blocked on both ends, and opens that are on one.
async fn blocked(pair: &mut Pair) -> (JoinSet<io::Error>, JoinSet<OpenError>) {
    let mut streams = JoinSet::new();
    for _ in 0..4 {
        let (near, far) = pair.stream().await;
        for mut idle in [near, far] {
            streams.spawn(async move { idle.read(&mut [0]).await.unwrap_err() });
        }
        let (near, far) = pair.stream().await;
        for mut full in [near, far] {
            streams.spawn(async move { fill(&mut full).await });
        }
    }
    let mut opens = JoinSet::new();
    for _ in 0..300 {
        let opener = pair.server.opener.clone();
        opens.spawn(async move {
            match opener.open().await {
                Err(error) => error,
                Ok(mut stream) => {
                    // Unanswered for good, so that later opens wait; held until the lane goes.
                    stream.write_all(b"x").await.unwrap();
                    assert_lost(&stream.read(&mut [0]).await.unwrap_err());
                    OpenError::Closed
                }
            }
        });
    }
    (streams, opens)
}

#[tokio::test]
async fn an_aborted_driver_fails_everything_on_both_ends() {
    let mut pair = Pair::piped(64 << 10, &Config::default());
    in_time(async {
        let (mut streams, mut opens) = blocked(&mut pair).await;
        crate::support::until(|| pair.server.opener.live() >= 300).await;
        pair.client.driver.abort();
        while let Some(error) = streams.join_next().await {
            assert_lost(&error.unwrap());
        }
        while let Some(error) = opens.join_next().await {
            assert_eq!(error.unwrap(), OpenError::Closed);
        }
        assert!(pair.client.opener.is_closed() && pair.server.opener.is_closed());
        assert_eq!(pair.client.opener.open().await.unwrap_err(), OpenError::Closed);
        while pair.client.incoming.accept().await.is_some() {}
        while pair.server.incoming.accept().await.is_some() {}
        assert_eq!((pair.client.opener.live(), pair.server.opener.live()), (0, 0));
        assert!(pair.drivers.join_next().await.unwrap().unwrap_err().is_cancelled());
        // The other end sees its peer gone, whether it first reads or writes.
        let end = pair.drivers.join_next().await.unwrap().unwrap();
        assert!(matches!(end, Ok(()) | Err(LaneError::Io(_))), "{end:?}");
    })
    .await;
}

#[tokio::test]
async fn bytes_that_came_are_read_before_the_loss() {
    let mut pair = Pair::tcp(&Config::default()).await;
    let (mut near, mut far) = pair.stream().await;
    near.write_all(b"abc").await.unwrap();
    crate::support::until(|| pair.server.activity.bytes_read() >= 12 + 5 + 12 + 3).await;
    pair.server.driver.abort();
    let mut bytes = Vec::new();
    assert_lost(&far.read_to_end(&mut bytes).await.unwrap_err());
    assert!(b"abc".starts_with(&bytes));
    assert_lost(&far.shutdown().await.unwrap_err());
    assert_lost(&far.flush().await.unwrap_err());
}

#[tokio::test]
async fn an_end_that_came_before_the_loss_stays_an_end() {
    let mut pair = Pair::piped(4096, &Config::default());
    let (mut near, mut far) = pair.stream().await;
    near.write_all(b"all of it").await.unwrap();
    near.shutdown().await.unwrap();
    let mut bytes = vec![0; 4];
    far.read_exact(&mut bytes).await.unwrap();
    let (mut later, mut later_far) = pair.stream().await;
    later.write_all(b"x").await.unwrap();
    later_far.read_exact(&mut [0]).await.unwrap();
    pair.server.driver.abort();
    far.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"all of it");
    assert_lost(&later_far.read(&mut [0]).await.unwrap_err());
}

#[tokio::test]
async fn a_socket_cut_within_a_frame_is_an_error() {
    let (near, mut far) = tokio::io::duplex(4096);
    let lane = tunnel_mux::server(near.compat(), &Config::default());
    let mut drivers = JoinSet::new();
    let mut end = crate::support::run(lane, &mut drivers);
    far.write_all(&[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, b'a']).await.unwrap();
    let mut stream = end.incoming.accept().await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
    // The last 100 bytes of the stream and its end, of which 10 come.
    far.write_all(&[0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 100]).await.unwrap();
    far.write_all(&[7; 10]).await.unwrap();
    drop(far);
    let error = drivers.join_next().await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, LaneError::Io(cause) if cause.kind() == ErrorKind::UnexpectedEof));
    assert_lost(&stream.read_to_end(&mut Vec::new()).await.unwrap_err());
}

#[tokio::test]
async fn a_driver_that_finished_closes_its_socket_though_it_is_kept() {
    let (near, mut far) = tokio::io::duplex(4096);
    let mut lane = tunnel_mux::server(near.compat(), &Config::default());
    far.write_all(&[9; 12]).await.unwrap();
    assert!(matches!((&mut lane.driver).await, Err(LaneError::Protocol(_))));
    far.read_to_end(&mut Vec::new()).await.unwrap();
    assert!(lane.opener.is_closed());
    assert!(lane.incoming.accept().await.is_none());
}
