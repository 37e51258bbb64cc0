//! What becomes of visitors when memory is nearly used up.

use std::sync::atomic::Ordering;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};
use tunnel_testkit::{Site, Upstream, Visitor, header};

use crate::support::{PATIENCE, port, until};

const BUDGET: u64 = 1 << 30;

fn request(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn new_visitors_are_turned_away_idle_connections_closed_and_all_others_go_on() {
    let mut site = Site::new().unwrap();
    site.config.limits.memory = Some(BUDGET);
    let server = site.start(Vec::new()).unwrap();
    let token = site.token("one");
    let client = site.client(&token).connect().await.unwrap();
    let (hello, echo) = (Upstream::hello("one").await.unwrap(), Upstream::echo().await.unwrap());
    let slow = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let _app = client.http().subdomain("app").forward(hello.target()).await.unwrap();
    let _slow =
        client.http().subdomain("slow").forward(slow.local_addr().unwrap().to_string()).await.unwrap();
    let tcp = client.tcp().forward(echo.target()).await.unwrap();
    let udp = client.udp().forward(datagrams.local_addr().unwrap().to_string()).await.unwrap();

    let mut idle = Visitor::connect(site.web_address()).await.unwrap();
    idle.send(request("app.test")).await.unwrap();
    assert_eq!(timeout(PATIENCE, idle.answer()).await.unwrap().unwrap().status, 200);
    let mut busy = Visitor::connect(site.web_address()).await.unwrap();
    busy.send(request("slow.test")).await.unwrap();
    let (mut answering, _) = timeout(PATIENCE, slow.accept()).await.unwrap().unwrap();
    let mut on_tcp = TcpStream::connect(("127.0.0.1", port(&tcp))).await.unwrap();
    let mut echoed = async |said: &[u8; 3]| {
        on_tcp.write_all(said).await.unwrap();
        let mut heard = [0; 3];
        timeout(PATIENCE, on_tcp.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(&heard, said);
    };
    echoed(b"one").await;

    site.memory_in_use.store(BUDGET / 100 * 90, Ordering::Relaxed);
    until(&server.handle, |now| now.is_overloaded).await;
    let mut refused = Visitor::connect(site.web_address()).await.unwrap();
    let answer = timeout(PATIENCE, refused.answer()).await.unwrap().unwrap();
    assert_eq!((answer.status, header(&answer.head, "tunnel-error")), (503, Some("overloaded")));
    assert_eq!(header(&answer.head, "retry-after"), Some("5"));
    // The reset may come before the connection is known to be there.
    if let Ok(mut on_port) = TcpStream::connect(("127.0.0.1", port(&tcp))).await {
        let end = timeout(PATIENCE, on_port.read(&mut [0; 8])).await.expect("refused at once");
        assert!(matches!(end, Err(_) | Ok(0)), "{end:?}");
    }
    let visitor = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    visitor.send_to(b"hello", ("127.0.0.1", port(&udp))).await.unwrap();
    until(&server.handle, |now| now.udp_dropped == 1).await;

    timeout(PATIENCE, idle.rest()).await.expect("what rests is closed").unwrap();
    echoed(b"two").await;
    answering.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert_eq!(
        timeout(PATIENCE, busy.answer()).await.unwrap().unwrap().status,
        200,
        "what was begun ends well"
    );
    let other = site.client(&token).connect().await.expect("clients are let in");
    let _other = other.http().subdomain("other").forward(hello.target()).await.unwrap();

    site.memory_in_use.store(BUDGET / 100 * 79, Ordering::Relaxed);
    let now = until(&server.handle, |now| !now.is_overloaded).await;
    assert_eq!(now.memory_used, Some(BUDGET / 100 * 79));
    let answer =
        timeout(PATIENCE, Visitor::get(site.web_address(), "other.test", "/")).await.unwrap().unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(now.refusals.get("overloaded"), Some(&3), "each is counted");
}
