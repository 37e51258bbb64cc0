//! Puts a local TCP service on a port of the server, and says what happens to it.
//!
//! ```text
//! cargo run -p tunnel-examples --bin tcp_forward -- HOST:4444 TOKEN localhost:5432
//! ```
//!
//! The tunnel is there for as long as its handle lives. Losing the connection to the server doesn't end it: the client
//! reconnects and asks for the same port. What happens meanwhile comes as events, which nobody has to read.

#![expect(clippy::print_stdout, reason = "it is a program")]

use std::time::Duration;

use anyhow::Context;
use tunnel_client::{Client, ClientError, Event, Token};

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "main reads the command line")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().context("give HOST:4444 TOKEN UPSTREAM");
    let (server, token, upstream) = (next()?, next()?.parse::<Token>()?, next()?);

    let client = Client::builder(server).token(token).connect().await?;
    let tunnel = client.tcp().forward(upstream).await?;
    println!("{}", tunnel.url());
    let stop = async {
        // Without signals it runs until it is killed.
        let _ = tokio::signal::ctrl_c().await;
    };
    watch(&client, stop, |line| println!("{line}")).await?;
    Ok(())
}

/// Tells what happens until `stop`; then the client leaves in order.
async fn watch(
    client: &Client,
    stop: impl Future<Output = ()>,
    mut tell: impl FnMut(String),
) -> Result<(), ClientError> {
    let mut events = client.events();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            Some(event) = events.next() => match event {
                Event::Online { url, .. } => tell(format!("online: {url}")),
                Event::Reconnecting { reason, retry_in, .. } => {
                    tell(format!("{reason}; next try in {} ms", retry_in.as_millis()));
                }
                Event::UpstreamFailed { message, .. } => tell(message),
                _ => {}
            },
            end = client.closed() => return end,
            () = &mut stop => {
                client.drain(Duration::from_secs(5)).await;
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::oneshot,
    };
    use tunnel_client::{Phase, PublicAddress};
    use tunnel_testkit::{Site, Upstream};

    use super::*;

    #[tokio::test]
    async fn a_connection_reaches_the_service_and_the_owner_hears_when_it_cannot() {
        let site = Site::new().unwrap();
        let _server = site.start(Vec::new()).unwrap();
        let client = site.client(&site.token("example")).connect().await.unwrap();
        let service = Upstream::echo().await.unwrap();
        let tunnel = client.tcp().forward(service.target()).await.unwrap();
        let Some(PublicAddress::Tcp { port, .. }) = tunnel.address() else {
            panic!("{:?}", tunnel.address())
        };

        let (stop, stopped) = oneshot::channel();
        let mut stop = Some(stop);
        let visit = async {
            let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            visitor.write_all(b"ping").await.unwrap();
            visitor.shutdown().await.unwrap();
            let mut echoed = Vec::new();
            visitor.read_to_end(&mut echoed).await.unwrap();
            assert_eq!(echoed, b"ping");

            drop(service);
            let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            visitor.write_all(b"ping").await.unwrap();
            assert!(visitor.read(&mut [0]).await.is_err(), "a service that is away is a reset, not an end");
        };
        let mut told = Vec::new();
        let tell = |line: String| {
            told.push(line);
            stop.take().map(|stop| stop.send(()));
        };
        let watching = watch(&client, async { stopped.await.unwrap() }, tell);
        let (watched, ()) = tokio::join!(watching, visit);
        watched.unwrap();
        assert!(told[0].contains("nothing listens"), "{told:?}");
        assert_eq!(client.status().phase, Phase::Ended);
    }
}
