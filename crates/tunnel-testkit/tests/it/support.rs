//! Waiting for things, without sleeping for luck.

use std::time::Duration;

use tunnel_client::Tunnel;
use tunnel_server::{ServerHandle, Snapshot};

/// Long enough for the slowest machine; reached only when something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the server looks as wished.
pub(crate) async fn until(server: &ServerHandle, mut wish: impl FnMut(&Snapshot) -> bool) -> Snapshot {
    let waiting = async {
        loop {
            let snapshot = server.snapshot();
            if wish(&snapshot) {
                return snapshot;
            }
            // sleep: polling a snapshot; the test goes on as soon as it fits
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(snapshot) => snapshot,
        Err(_) => panic!("never happened; the server is at {:#?}", server.snapshot()),
    }
}

/// The public port of a TCP tunnel.
pub(crate) fn port(tunnel: &Tunnel) -> u16 {
    tunnel.url().rsplit(':').next().unwrap().parse().unwrap()
}

/// Waits until nothing listens at a port any more.
pub(crate) async fn closed(port: u16) {
    let waiting = async {
        while std::net::TcpListener::bind(("127.0.0.1", port)).is_err() {
            // sleep: polling the system; the test goes on as soon as the port is free
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the port is closed in time");
}
