//! What a lane shows to those who watch it, and its end in good order.

use std::time::Duration;

use crate::support::{Gate, Gated, Pair, in_time, pattern, run, tcp_sockets, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::compat::TokioAsyncReadCompatExt;
use tunnel_mux::{Config, OpenError, is_lane_lost};

#[tokio::test(start_paused = true)]
async fn the_last_byte_has_a_time() {
    let mut pair = Pair::piped(64 << 10, &Config::default());
    let start = Instant::now();
    assert_eq!(pair.server.activity.last_read(), start);
    tokio::time::advance(Duration::from_millis(1234)).await;
    let (_near, _far) = pair.stream().await;
    let heard = pair.server.activity.last_read();
    assert_eq!(heard - start, Duration::from_millis(1234));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(pair.server.activity.last_read(), heard);
}

#[tokio::test]
async fn bulk_shows_at_both_ends_and_small_exchanges_dont() {
    let mut pair = Pair::piped(64 << 10, &Config::default());
    in_time(async {
        for _ in 0..200 {
            let (mut near, mut far) = pair.stream().await;
            far.write_all(&pattern(1, 16 << 10)).await.unwrap();
            far.shutdown().await.unwrap();
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).await.unwrap();
        }
        let bulk = |pair: &Pair| (pair.client.activity.bulk_bytes(), pair.server.activity.bulk_bytes());
        assert_eq!(bulk(&pair), (0, 0), "3 MB, 16 KiB at a time");
        assert!(pair.client.activity.bytes_read() > 3 << 20);

        let (mut near, mut far) = pair.stream().await;
        let mut answer = vec![0; 1 << 20];
        let sent = pattern(2, 1 << 20);
        let (wrote, read) = tokio::join!(far.write_all(&sent), near.read_exact(&mut answer));
        wrote.unwrap();
        read.unwrap();
        let (receiver, sender) = bulk(&pair);
        assert!(receiver >= 512 << 10 && sender >= 512 << 10, "{receiver} {sender}");
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_takes_nothing_shows() {
    in_time(async {
        let (a, b) = tokio::io::duplex(1 << 10);
        let gate = Gate::default();
        let mut drivers = JoinSet::new();
        let near = run(
            tunnel_mux::client(Gated { io: a.compat(), gate: gate.clone() }, &Config::default()),
            &mut drivers,
        );
        let _far = run(tunnel_mux::server(b.compat(), &Config::default()), &mut drivers);
        let mut stream = near.opener.open().await.unwrap();
        assert_eq!(near.activity.blocked_for(), Duration::ZERO);
        gate.shut();
        stream.write_all(b"waits").await.unwrap();
        until(|| near.activity.blocked_for() > Duration::ZERO).await;
        gate.open();
        until(|| near.activity.blocked_for() == Duration::ZERO).await;
    })
    .await;
}

#[tokio::test]
async fn a_closed_lane_sends_what_was_written_and_ends_in_order_at_both_ends() {
    let (a, b) = tcp_sockets().await;
    let mut pair = Pair::over(a.compat(), b.compat(), &Config::default());
    in_time(async {
        let (mut near, mut far) = pair.stream().await;
        let sent = pattern(3, 200 << 10);
        far.write_all(&sent).await.unwrap();
        far.shutdown().await.unwrap();
        let place = pair.server.opener.try_reserve().unwrap();
        pair.server.opener.close();
        assert!(pair.server.opener.is_closed());
        assert_eq!(place.open().await.unwrap_err(), OpenError::Closed);
        while let Some(end) = pair.drivers.join_next().await {
            end.unwrap().unwrap();
        }
        let mut arrived = Vec::new();
        near.read_to_end(&mut arrived).await.unwrap();
        assert!(arrived == sent);
        let error = near.write_all(b"more").await.unwrap_err();
        assert!(is_lane_lost(&error), "{error}");
        assert_eq!(pair.client.opener.open().await.unwrap_err(), OpenError::Closed);
    })
    .await;
}
