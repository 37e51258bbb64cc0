//! The visitors of a busy day, all of whom come at once.

use std::{net::SocketAddr, sync::Arc};

use http::Request;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    task::JoinSet,
};
use tunnel_testkit::Visitor;
use tunnel_transport::UpstreamTlsStream;

use super::super::{
    bulk::{self, DOWN, UP},
    udp,
};
use crate::harness::{Http2, Outcome, Told, check, http2_ask, within};

/// How many visitors of a kind there are.
const OF_A_KIND: usize = 8;
/// How many requests each connection of HTTP/2 has under way.
const STREAMS: usize = 8;
/// How many visitors move much.
pub(super) const BULKY: usize = 6;

type TlsVisitor = Visitor<UpstreamTlsStream<TcpStream>>;

/// Who comes, and where to.
#[derive(Clone, Debug)]
pub(super) struct Visitors {
    /// How often each of them asks.
    pub(super) each: usize,
    /// What each that moves much moves, in bytes.
    pub(super) length: u64,
    pub(super) web: SocketAddr,
    pub(super) https: SocketAddr,
    /// The certificate there (PEM).
    pub(super) trusted: String,
    /// Of the site that says hello, of the one that takes and gives files, and of the one that chats.
    pub(super) hosts: [String; 3],
    /// A TCP tunnel that echoes.
    pub(super) talk: SocketAddr,
    /// A TCP tunnel for [`bulk::both_ways`].
    pub(super) copy: SocketAddr,
    /// A UDP tunnel that echoes.
    pub(super) udp: SocketAddr,
}

impl Visitors {
    /// Lets them all come, and waits until each has been answered. Gives how many answers there were.
    pub(super) async fn come(self) -> Outcome<usize> {
        let this = Arc::new(self);
        let mut coming: JoinSet<Outcome<usize>> = JoinSet::new();
        for _ in 0..OF_A_KIND {
            let visitors = || this.clone();
            coming.spawn(visitors().keeps_its_connection());
            coming.spawn(visitors().keeps_its_tls_connection());
            coming.spawn(visitors().connects_each_time());
            coming.spawn(visitors().speaks_http2(false));
            coming.spawn(visitors().speaks_http2(true));
            coming.spawn(visitors().chats());
            coming.spawn(visitors().talks());
            coming.spawn(visitors().sends_datagrams());
        }
        coming.spawn(this.clone().moves_files());
        coming.spawn(this.clone().moves_files_over_tls());
        for _ in 2..BULKY {
            coming.spawn(this.clone().moves_both_ways());
        }
        let mut answered = 0;
        while let Some(came) = coming.join_next().await {
            answered += came.told("a visitor")??;
        }
        Ok(answered)
    }

    async fn tls(&self, host: &str) -> Outcome<TlsVisitor> {
        Ok(within("TLS", TlsVisitor::connect_tls(self.https, host, self.trusted.as_bytes())).await??)
    }

    async fn keeps_its_connection(self: Arc<Self>) -> Outcome<usize> {
        let mut visitor = Visitor::connect(self.web).await?;
        self.asks(&mut visitor, self.each).await
    }

    async fn keeps_its_tls_connection(self: Arc<Self>) -> Outcome<usize> {
        let mut visitor = self.tls(&self.hosts[0]).await?;
        self.asks(&mut visitor, self.each).await
    }

    async fn connects_each_time(self: Arc<Self>) -> Outcome<usize> {
        for number in 0..self.each {
            self.asks(&mut Visitor::connect(self.web).await?, 1).await?;
            // Handshakes are dear, and visitors with TLS make few of them.
            if number % 8 == 0 {
                self.asks(&mut self.tls(&self.hosts[0]).await?, 1).await?;
            }
        }
        Ok(self.each + self.each.div_ceil(8))
    }

    async fn asks<S>(&self, visitor: &mut Visitor<S>, times: usize) -> Outcome<usize>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let host = &self.hosts[0];
        for number in 0..times {
            // What a browser sends.
            let request = format!(
                "GET /{number} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
                 Accept: text/html,*/*;q=0.8\r\nAccept-Language: en\r\nAccept-Encoding: gzip, br\r\n\
                 Cookie: session=0123456789abcdef; theme=dark\r\nConnection: keep-alive\r\n\r\n"
            );
            visitor.send(request).await?;
            let answer = within("a page", visitor.answer()).await??;
            check_page(&answer.body, number)?;
        }
        Ok(times)
    }

    async fn speaks_http2(self: Arc<Self>, over_tls: bool) -> Outcome<usize> {
        let host = &self.hosts[0];
        let (scheme, http2) = match over_tls {
            true => ("https", Http2::connect_tls(self.https, host, &self.trusted).await?),
            false => ("http", Http2::connect(self.web).await?),
        };
        let mut asking: JoinSet<Outcome> = JoinSet::new();
        for _ in 0..STREAMS {
            let (asks, uri, times) = (http2.asking(), format!("{scheme}://{host}/"), self.each);
            asking.spawn(async move {
                for number in 0..times {
                    let request =
                        Request::get(format!("{uri}{number}")).header("accept", "text/html").body(())?;
                    let answer = within("a page", http2_ask(asks.clone(), request, None)).await??;
                    check_page(&answer.body, number)?;
                }
                Ok(())
            });
        }
        while let Some(asked) = asking.join_next().await {
            asked.told("asking over HTTP/2")??;
        }
        Ok(STREAMS * self.each)
    }

    async fn chats(self: Arc<Self>) -> Outcome<usize> {
        let mut visitor = Visitor::connect(self.web).await?;
        let host = &self.hosts[2];
        let opening = format!(
            "GET /chat HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        visitor.send(opening).await?;
        let head = within("the upgrade", visitor.head()).await??;
        check!(head.starts_with("HTTP/1.1 101 "), "no upgrade: {head}");
        within("the greeting", visitor.exactly(5)).await??;
        for number in 0..self.each {
            let message = number.to_string().repeat(20);
            visitor.send(&message).await?;
            let echo = within("an echo", visitor.exactly(message.len())).await??;
            check!(echo == message.as_bytes(), "echo {number} differs");
        }
        Ok(self.each)
    }

    async fn talks(self: Arc<Self>) -> Outcome<usize> {
        let mut kept = TcpStream::connect(self.talk).await?;
        kept.set_nodelay(true)?;
        for number in 0..self.each {
            echo(&mut kept, b"select 1").await?;
            if number % 2 == 0 {
                echo(&mut TcpStream::connect(self.talk).await?, b"x").await?;
            }
        }
        Ok(self.each + self.each.div_ceil(2))
    }

    async fn sends_datagrams(self: Arc<Self>) -> Outcome<usize> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(self.udp).await?;
        for number in 0..self.each {
            let question = number.to_string().repeat(50);
            // One that was given up may still be answered.
            while udp::ask(&socket, question.as_bytes()).await? != question.as_bytes() {}
        }
        Ok(self.each)
    }

    async fn moves_files(self: Arc<Self>) -> Outcome<usize> {
        self.moves(&mut Visitor::connect(self.web).await?).await
    }

    async fn moves_files_over_tls(self: Arc<Self>) -> Outcome<usize> {
        self.moves(&mut self.tls(&self.hosts[1]).await?).await
    }

    async fn moves<S>(&self, visitor: &mut Visitor<S>) -> Outcome<usize>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        bulk::upload(visitor, &self.hosts[1], self.length).await?;
        bulk::download(visitor, &self.hosts[1], self.length).await?;
        Ok(2)
    }

    async fn moves_both_ways(self: Arc<Self>) -> Outcome<usize> {
        bulk::both_ways(TcpStream::connect(self.copy).await?, (UP, DOWN), self.length).await?;
        Ok(1)
    }
}

fn check_page(body: &[u8], number: usize) -> Outcome {
    let body = String::from_utf8_lossy(body);
    check!(body.starts_with(&format!("site /{number} ")), "another page than {number}: {body:.200}");
    Ok(())
}

async fn echo(stream: &mut TcpStream, said: &[u8]) -> Outcome {
    stream.write_all(said).await?;
    let mut heard = vec![0; said.len()];
    within("an echo", stream.read_exact(&mut heard)).await??;
    check!(heard == said, "an echo differs: {heard:?}");
    Ok(())
}
