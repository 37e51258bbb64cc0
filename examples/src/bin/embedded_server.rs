//! A server and a client in one program: what it takes to build the public side into something of your own.
//!
//! ```text
//! cargo run -p tunnel-examples --bin embedded_server
//! ```
//!
//! The library reads no files, so the key, the tokens and the leases are the program's to keep. Here they live as long
//! as the program, which publishes one name, visits it once, looks around and ends.

#![expect(clippy::print_stdout, reason = "it is a program")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use tunnel_client::{Client, Token};
use tunnel_server::{
    Config, ControlIdentity, ControlTls, Hostname, Listener, Server, StoredToken, TokenList, acceptor,
    generate_self_signed,
};

/// Any free port of this machine alone.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    println!("{}", run().await?);
    Ok(())
}

/// Starts everything, visits the tunnel once, ends everything; gives the visitor's answer.
async fn run() -> anyhow::Result<String> {
    // Who the server is: keep both texts, or tokens that pin this key are worth nothing after a restart.
    let keys = generate_self_signed(&["localhost".into()])?;
    let identity = ControlIdentity::from_pem(keys.cert_pem.as_bytes(), keys.key_pem.as_bytes())?;
    // Who the client is: the server stores the hash, the client gets the token.
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let token = Token::new(random, Some(*identity.pin().as_bytes()));
    let stored = StoredToken::new(token.id(), "me", token.hash(), Default::default());

    let control = Listener::bind(LOOPBACK)?;
    let web = Listener::bind(LOOPBACK)?;
    let (control_address, web_address) = (control.local_addr()?, web.local_addr()?);
    let server = Server::builder(Config::new(Hostname::parse("localhost")?))
        .control(control, ControlTls::Tls(acceptor(&identity)?))
        .web(web)
        .authenticator(TokenList(vec![stored]))
        .build()?;
    let handle = server.handle();

    let (stop, stopped) = oneshot::channel::<()>();
    let serving = server.run(async {
        // Sent or dropped, it means the same.
        let _ = stopped.await;
    });
    let using = async {
        let client = Client::builder(control_address.to_string()).token(token).connect().await?;
        let mut listener = client.http().subdomain("hello").listen().await?;
        let (answer, answered) = tokio::join!(visit(web_address, "hello.localhost"), async {
            let mut conn = listener.accept().await?;
            // One request fits into one read here; a program with real visitors puts an HTTP library on the stream.
            let length = conn.read(&mut [0; 4096]).await?;
            anyhow::ensure!(length > 0, "the visitor said nothing");
            conn.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nhello from a tunnel").await?;
            conn.shutdown().await?;
            anyhow::Ok(())
        });
        answered?;
        for tunnel in handle.snapshot().tunnels {
            println!("{} belongs to `{}`", tunnel.url, tunnel.owner);
        }
        client.drain(Duration::ZERO).await;
        drop(stop);
        answer
    };
    let ((), answer) = tokio::join!(serving, using);
    answer
}

async fn visit(server: SocketAddr, host: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(server).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_answers_its_visitor_and_ends() {
        assert_eq!(super::run().await.unwrap(), "hello from a tunnel");
    }
}
