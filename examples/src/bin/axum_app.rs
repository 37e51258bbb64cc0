//! A web application on a public address, with no port of its own: visitors' streams go straight into axum.
//!
//! ```text
//! cargo run -p tunnel-examples --bin axum_app -- HOST:4444 TOKEN
//! ```
//!
//! Nothing listens on this machine, so nothing on this machine or its network can reach the application but through
//! the tunnel. The visitor's address is the one the server saw.

#![expect(clippy::print_stdout, reason = "it is a program")]

use std::{io, time::Duration};

use anyhow::Context;
use axum::{Router, extract::ConnectInfo, routing::get};
use tunnel_client::{Client, Listener, Visitor};

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "main reads the command line")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let server = arguments.next().context("which server? give HOST:4444 TOKEN")?;
    let token = arguments.next().context("which token? give HOST:4444 TOKEN")?;

    let client = Client::builder(server).token(token.parse()?).connect().await?;
    let listener = client.http().subdomain("hello").listen().await?;
    println!("{}", listener.url());
    serve(listener, async {
        // Without signals it runs until it is killed.
        let _ = tokio::signal::ctrl_c().await;
    })
    .await?;
    client.drain(Duration::from_secs(5)).await;
    Ok(())
}

/// Serves visitors until `stop`, or until there can be no more.
async fn serve(listener: Listener, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let app = Router::new().route("/", get(hello)).into_make_service_with_connect_info::<Visitor>();
    let ended = listener.tunnel().closed();
    let stop = async move {
        tokio::select! {
            () = stop => {}
            end = ended => println!("{end}"),
        }
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await
}

async fn hello(ConnectInfo(Visitor(visitor)): ConnectInfo<Visitor>) -> String {
    match visitor {
        Some(address) => format!("hello, {}\n", address.ip()),
        None => "hello, whoever you are\n".into(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tunnel_testkit::{Site, Visitor};

    use super::*;

    #[tokio::test]
    async fn a_visitor_reaches_an_application_without_a_port() {
        let site = Site::new().unwrap();
        let _server = site.start(Vec::new()).unwrap();
        let client = site.client(&site.token("example")).connect().await.unwrap();
        let listener = client.http().subdomain("hello").listen().await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let visit = async {
            let answer = Visitor::get(site.web_address(), "hello.test", "/").await.unwrap();
            stop.send(()).unwrap();
            answer
        };
        let serving = serve(listener, async { stopped.await.unwrap() });
        let (served, answer) = tokio::join!(serving, visit);
        served.unwrap();
        assert_eq!((answer.status, answer.body), (200, b"hello, 127.0.0.1\n".to_vec()));
    }
}
