//! TCP tunnels: bytes, half-close, resets, refusals.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tunnel_client::{Client, Tunnel};
use tunnel_testkit::{Site, TestServer, Upstream};

use crate::support::{port, until};

struct Bench {
    server: TestServer,
    _client: Client,
    _upstream: Upstream,
    _tunnel: Tunnel,
    port: u16,
}

async fn bench(upstream: Upstream) -> Bench {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.tcp().forward(upstream.target()).await.unwrap();
    let port = tunnel.url().rsplit(':').next().unwrap().parse().unwrap();
    Bench { server, _client: client, _upstream: upstream, _tunnel: tunnel, port }
}

async fn visit(bench: &Bench) -> TcpStream {
    TcpStream::connect(("127.0.0.1", bench.port)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_come_back_equal_and_in_order() {
    let bench = bench(Upstream::echo().await.unwrap()).await;
    let visitor = visit(&bench).await;
    let sent: Vec<u8> =
        (0..8 << 20).map(|i: u32| i.to_le_bytes()[0] ^ i.to_le_bytes()[1] ^ i.to_le_bytes()[2]).collect();
    let (mut read, mut write) = visitor.into_split();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
        write
    });
    let mut received = Vec::new();
    read.read_to_end(&mut received).await.unwrap();
    assert!(received == expected);
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_speaks_first_is_heard() {
    let bench = bench(Upstream::speaks_first(b"220 hello\r\n").await.unwrap()).await;
    let mut visitor = visit(&bench).await;
    let mut banner = [0; 11];
    visitor.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"220 hello\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_the_upstream_is_a_reset_for_the_visitor() {
    for half_closed_first in [false, true] {
        let bench = bench(Upstream::sends_then_resets(b"half an answer").await.unwrap()).await;
        let mut visitor = visit(&bench).await;
        visitor.write_all(b"?").await.unwrap();
        let mut answer = [0; 14];
        visitor.read_exact(&mut answer).await.unwrap();
        if half_closed_first {
            visitor.shutdown().await.unwrap();
        } else {
            visitor.write_all(b"?").await.unwrap();
        }
        let end = visitor.read(&mut answer).await;
        assert_eq!(
            end.unwrap_err().kind(),
            std::io::ErrorKind::ConnectionReset,
            "half-closed: {half_closed_first}"
        );
    }
}

/// An upload at the time when it is refused and reset, web or not.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_said_before_it_was_reset_arrives() {
    const ANSWER: &[u8] = b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large";
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let upstream = Upstream::refuses_uploads(ANSWER).await.unwrap();
    let tcp = client.tcp().forward(upstream.target()).await.unwrap();
    let _web = client.http().subdomain("app").forward(upstream.target()).await.unwrap();
    for round in 0..40_usize {
        let port = if round.is_multiple_of(2) { port(&tcp) } else { site.web_address().port() };
        let (mut from, mut to) = TcpStream::connect(("127.0.0.1", port)).await.unwrap().into_split();
        let length = 10_000 * (1 + round * round % 300);
        let head = format!("PUT / HTTP/1.1\r\nHost: app.test\r\nContent-Length: {length}\r\n\r\n");
        let upload = [head.as_bytes(), &vec![b'x'; length]].concat();
        let mut said = Vec::new();
        let reading = async {
            while !said.ends_with(b"too large") {
                assert_ne!(from.read_buf(&mut said).await.unwrap(), 0, "ends early");
            }
        };
        // Cut off before its end, as it should.
        let _cut = tokio::join!(reading, to.write_all(&upload));
        assert!(said.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&said));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_the_visitor_is_a_reset_for_the_upstream() {
    let (seen, mut events) = tokio::sync::mpsc::channel(2);
    let upstream = Upstream::start(move |mut stream| {
        let seen = seen.clone();
        async move {
            let mut piece = [0; 64];
            loop {
                let read = stream.read(&mut piece).await.map_err(|error| error.kind());
                let is_over = !matches!(read, Ok(1..));
                seen.send(read).await.unwrap();
                if is_over {
                    return;
                }
            }
        }
    });
    let bench = bench(upstream.await.unwrap()).await;
    let mut visitor = visit(&bench).await;
    visitor.write_all(b"half").await.unwrap();
    // One that goes before its stream is open never gets to the upstream.
    assert_eq!(events.recv().await.unwrap(), Ok(4));
    visitor.set_zero_linger().unwrap();
    drop(visitor);
    assert_eq!(events.recv().await.unwrap(), Err(std::io::ErrorKind::ConnectionReset));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusing_upstream_is_a_reset_not_an_empty_answer() {
    let gone = Upstream::echo().await.unwrap().target();
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.tcp().forward(gone).await.unwrap();
    let port: u16 = tunnel.url().rsplit(':').next().unwrap().parse().unwrap();
    let visit = async {
        let mut visitor = TcpStream::connect(("127.0.0.1", port)).await?;
        visitor.read(&mut [0; 1]).await
    };
    // The reset may come so soon that connecting is what fails.
    assert_eq!(visit.await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_that_left_leave_no_stream_behind() {
    let bench = bench(Upstream::echo().await.unwrap()).await;
    for n in 0..20 {
        let mut visitor = visit(&bench).await;
        visitor.write_all(b"x").await.unwrap();
        visitor.read_exact(&mut [0; 1]).await.unwrap();
        match n % 3 {
            0 => drop(visitor),
            1 => visitor.set_zero_linger().unwrap(),
            _ => {
                visitor.shutdown().await.unwrap();
                assert_eq!(visitor.read(&mut [0; 1]).await.unwrap(), 0);
            }
        }
    }
    until(&bench.server.handle, |now| now.sessions[0].streams == 1 && now.tunnels[0].visitors == 0).await;
}
