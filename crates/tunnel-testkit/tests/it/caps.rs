//! A tunnel has so many visitors at a time, whatever kind it is.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};
use tunnel_testkit::{Site, TestServer, Upstream, Visitor, header};

use crate::support::{PATIENCE, port, until};

fn site() -> (Site, TestServer) {
    let mut site = Site::new().unwrap();
    site.config.limits.visitors_per_tunnel = 1;
    let server = site.start(Vec::new()).unwrap();
    (site, server)
}

const PLAIN: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn of_the_web_a_request_under_way_and_a_websocket_are_visitors() {
    let (site, server) = site();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = upstream.local_addr().unwrap().to_string();
    let _app = client.http().subdomain("app").forward(target).await.unwrap();
    for ask in [PLAIN, UPGRADE] {
        let mut first = Visitor::connect(site.web_address()).await.unwrap();
        first.send(ask).await.unwrap();
        let (mut there, _) = timeout(PATIENCE, upstream.accept()).await.unwrap().unwrap();
        if ask == UPGRADE {
            there.write_all(SWITCHED).await.unwrap();
            assert_eq!(timeout(PATIENCE, first.answer()).await.unwrap().unwrap().status, 101);
        }
        for ask in [PLAIN, UPGRADE] {
            let mut second = Visitor::connect(site.web_address()).await.unwrap();
            second.send(ask).await.unwrap();
            let answer = timeout(PATIENCE, second.answer()).await.unwrap().unwrap();
            assert_eq!(
                (answer.status, header(&answer.head, "tunnel-error")),
                (503, Some("too-many-visitors"))
            );
        }
        drop((first, there));
        until(&server.handle, |now| now.tunnels.iter().all(|tunnel| tunnel.visitors == 0)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_connections_and_udp_flows_are_visitors() {
    let (site, server) = site();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let echo = Upstream::echo().await.unwrap();
    let tcp = client.tcp().forward(echo.target()).await.unwrap();
    let echoed = async || -> std::io::Result<TcpStream> {
        let mut visitor = TcpStream::connect(("127.0.0.1", port(&tcp))).await?;
        visitor.write_all(b"hello").await?;
        visitor.read_exact(&mut [0; 5]).await?;
        Ok(visitor)
    };
    let first = timeout(PATIENCE, echoed()).await.unwrap().expect("the first is served");
    timeout(PATIENCE, echoed()).await.expect("the second is refused at once").unwrap_err();
    drop(first);
    until(&server.handle, |now| now.tunnels.iter().all(|tunnel| tunnel.visitors == 0)).await;
    timeout(PATIENCE, echoed()).await.unwrap().expect("the place is free again");

    let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp = client.udp().forward(upstream.local_addr().unwrap().to_string()).await.unwrap();
    let visitors =
        [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
    let mut heard = [0; 8];
    visitors[0].send_to(b"1", ("127.0.0.1", port(&udp))).await.unwrap();
    timeout(PATIENCE, upstream.recv_from(&mut heard)).await.unwrap().unwrap();
    visitors[1].send_to(b"2", ("127.0.0.1", port(&udp))).await.unwrap();
    until(&server.handle, |now| now.udp_dropped == 1).await;
    visitors[0].send_to(b"3", ("127.0.0.1", port(&udp))).await.unwrap();
    timeout(PATIENCE, upstream.recv_from(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard[0], b'3', "the second's never came");
}
