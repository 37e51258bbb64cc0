//! A web application served straight from the tunnel.

use axum::{Router, extract::ConnectInfo, routing::get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tunnel_client::Visitor;

use crate::support::{connected, soon};

#[tokio::test]
async fn axum_serves_a_listener() {
    let (_server, client, mut session) = connected().await;
    let (listener, id) = tokio::join!(client.http().listen(), session.grant("fox"));
    let listener = listener.unwrap();
    let ended = listener.tunnel().closed();
    let hello =
        async |ConnectInfo(Visitor(who)): ConnectInfo<Visitor>| format!("hello {}", who.unwrap().ip());
    let app = Router::new().route("/", get(hello)).into_make_service_with_connect_info::<Visitor>();
    let serve = async {
        axum::serve(listener, app).with_graceful_shutdown(async { drop(ended.await) }).await.unwrap();
    };
    let visit = async {
        let mut visit = session.visit(id).await;
        visit.ready().await;
        let request = b"GET / HTTP/1.1\r\nHost: fox.fake\r\nConnection: close\r\n\r\n";
        visit.stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        soon(visit.stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello 192.0.2.1"), "{answer}");
        client.close().await;
    };
    tokio::join!(soon(serve), visit);
}
