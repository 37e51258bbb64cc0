//! What cannot be seen from outside: that yamux and the wire forget the streams we drop.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_util::compat::TokioAsyncReadCompatExt;

use crate::{Config, Lane, client, server};

#[tokio::test]
async fn dropped_streams_are_forgotten_in_every_state() {
    let config = Config { max_streams: 64, ..Config::default() };
    let (a, b) = tokio::io::duplex(4096);
    let (near, far) = (client(a.compat(), &config), server(b.compat(), &config));
    let mut tasks = JoinSet::new();
    let Lane { opener, incoming: _incoming, driver, .. } = near;
    tasks.spawn(async { driver.await.unwrap() });
    let Lane { opener: far_opener, mut incoming, driver, .. } = far;
    tasks.spawn(async { driver.await.unwrap() });
    for round in 0..20_000 {
        let mut near = opener.open().await.unwrap();
        if round % 5 == 0 {
            continue;
        }
        near.write_all(b"x").await.unwrap();
        let mut far = incoming.accept().await.unwrap();
        match round % 5 {
            1 => drop(far),
            2 => {
                far.shutdown().await.unwrap();
                drop(far);
                near.read_to_end(&mut Vec::new()).await.unwrap();
            }
            3 => {
                near.shutdown().await.unwrap();
                far.read_to_end(&mut Vec::new()).await.unwrap();
                far.shutdown().await.unwrap();
                near.read_to_end(&mut Vec::new()).await.unwrap();
            }
            _ => {
                drop(near);
                far.read_to_end(&mut Vec::new()).await.unwrap_err();
            }
        }
    }
    for shared in [&opener.shared, &far_opener.shared] {
        while shared.live() + shared.held() > 0 {
            tokio::task::yield_now().await;
        }
    }
    assert!(tasks.try_join_next().is_none());
}
