//! A client that reaches its server by a way of its own, instead of TCP and TLS: here a pipe within the process.
//!
//! ```text
//! cargo run -p tunnel-examples --bin custom_transport
//! ```
//!
//! A client asks a [`Dial`] for a byte stream and never learns how it came about; a server takes one with
//! [`ServerHandle::serve_connection`]. In between there may be a WebSocket, a serial line or SSH. Whoever writes a
//! `Dial` answers for what TLS does otherwise: the stream leads to the right server and nobody else reads it, since the
//! client shows its token on it.

#![expect(clippy::print_stdout, reason = "it is a program")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tunnel_client::{BoxFuture, BoxedIo, Client, Dial, DialError, PublicAddress};
use tunnel_server::{AllowAll, Config, Hostname, Server, ServerHandle};

/// Bytes that fit into the pipe each way.
const PIPE: usize = 256 * 1024;
/// The pipe's stand-in for the address that logs show and wrong tokens are counted by.
const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The client's end: each dial makes a pipe and hands its other end to the server.
struct Pipes(mpsc::Sender<DuplexStream>);

impl Dial for Pipes {
    fn dial(&self) -> BoxFuture<'_, Result<BoxedIo, DialError>> {
        Box::pin(async {
            let (near, far) = tokio::io::duplex(PIPE);
            self.0.send(far).await.map_err(|closed| DialError::Other(Box::new(closed)))?;
            Ok(Box::new(near) as BoxedIo)
        })
    }

    fn describe(&self) -> String {
        "a pipe".into()
    }
}

/// The server's end: like an accept loop, it owns what it has accepted.
async fn accept(server: ServerHandle, mut pipes: mpsc::Receiver<DuplexStream>) {
    let mut connections = JoinSet::new();
    while let Some(pipe) = pipes.recv().await {
        let server = server.clone();
        connections.spawn(async move { server.serve_connection(Box::new(pipe), CLIENT).await });
        while connections.try_join_next().is_some() {}
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    println!("{}", run().await?);
    Ok(())
}

/// Publishes a port through a pipe, visits it once, ends everything; gives what the visitor heard.
async fn run() -> anyhow::Result<String> {
    let mut config = Config::new(Hostname::parse("localhost")?);
    config.bind = Ipv4Addr::LOCALHOST.into();
    config.tcp_ports = Some(20_000..=29_999);
    // There is no control port at all: only this program's own pipes lead in, so no token is needed.
    let server = Server::builder(config).authenticator(AllowAll).build()?;
    let (dialled, accepted) = mpsc::channel(4);
    let mut accepting = JoinSet::new();
    accepting.spawn(accept(server.handle(), accepted));

    let (stop, stopped) = oneshot::channel::<()>();
    let serving = server.run(async {
        // Sent or dropped, it means the same.
        let _ = stopped.await;
    });
    let using = async {
        let client = Client::builder("pipe").dialer(Pipes(dialled)).connect().await?;
        let mut listener = client.tcp().listen().await?;
        let Some(PublicAddress::Tcp { port, .. }) = listener.tunnel().address() else {
            anyhow::bail!("no port was given");
        };
        let (heard, said) = tokio::join!(visit(port), async {
            let mut conn = listener.accept().await?;
            conn.write_all(b"hello through a pipe").await?;
            conn.shutdown().await?;
            anyhow::Ok(())
        });
        said?;
        client.drain(Duration::ZERO).await;
        drop(stop);
        heard
    };
    let ((), heard) = tokio::join!(serving, using);
    heard
}

async fn visit(port: u16) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await?;
    Ok(heard)
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_visitor_is_carried_through_the_pipe() {
        assert_eq!(super::run().await.unwrap(), "hello through a pipe");
    }
}
