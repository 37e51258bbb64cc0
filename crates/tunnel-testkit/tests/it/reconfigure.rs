//! New settings for a running server: they count at once, and nobody who is connected notices.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tunnel_client::{BindError, Code};
use tunnel_server::{Config, ServerHandle};
use tunnel_testkit::{Site, Upstream, Visitor};

use crate::support::{PATIENCE, port, until};

fn change(server: &ServerHandle, change: impl FnOnce(&mut Config)) -> Vec<&'static str> {
    let mut config = Config::clone(&server.config());
    change(&mut config);
    server.reconfigure(config).unwrap()
}

async fn status(visitor: &mut Visitor<TcpStream>) -> u16 {
    visitor.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await.unwrap();
    timeout(PATIENCE, visitor.answer()).await.unwrap().unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_times_change_under_open_connections() {
    let site = Site::new().unwrap();
    let running = site.start(Vec::new()).unwrap();
    let server = running.handle.clone();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let (hello, echo) = (Upstream::hello("one").await.unwrap(), Upstream::echo().await.unwrap());
    let _app = client.http().subdomain("app").forward(hello.target()).await.unwrap();
    let tcp = client.tcp().forward(echo.target()).await.unwrap();
    let mut kept = Visitor::connect(site.web_address()).await.unwrap();
    assert_eq!(status(&mut kept).await, 200);
    let mut on_tcp = TcpStream::connect(("127.0.0.1", port(&tcp))).await.unwrap();
    on_tcp.write_all(b"one").await.unwrap();
    on_tcp.read_exact(&mut [0; 3]).await.unwrap();

    let changes = change(&server, |config| {
        config.limits.connections = 1;
        config.limits.visitors_per_tunnel = 1;
        config.tcp_ports = None;
        config.timeouts.hold = Duration::ZERO;
    });
    assert_eq!(changes, ["tcp_ports", "visitors_per_tunnel", "connections", "hold"]);
    on_tcp.write_all(b"two").await.unwrap();
    let mut heard = [0; 3];
    on_tcp.read_exact(&mut heard).await.unwrap();
    assert_eq!((&heard, status(&mut kept).await), (b"two", 200), "what was open goes on");
    let mut refused = Visitor::connect(site.web_address()).await.unwrap();
    assert_eq!(timeout(PATIENCE, refused.answer()).await.unwrap().unwrap().status, 503);
    let refused = client.tcp().forward(echo.target()).await.unwrap_err();
    assert!(
        matches!(&refused, BindError::Refused(refusal) if refusal.code == Code::NotSupported),
        "{refused}"
    );

    change(&server, |config| config.limits.connections = 100);
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    assert_eq!(status(&mut visitor).await, 200);
    drop(on_tcp);
    client.drain(Duration::from_secs(5)).await;
    until(&server, |now| now.sessions.is_empty()).await;
    // Away or gone, by whether the name has been swept up.
    assert!([404, 503].contains(&status(&mut visitor).await), "nobody waits for a client any more");
}
