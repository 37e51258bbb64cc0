//! What upstreams of all kinds are told to be, each a socket that says one thing.

use tokio::net::TcpListener;

use super::*;
use crate::doctor::check::Status;

/// A service that answers each connection by what it was asked for.
async fn service(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut piece = [0; 1024];
            let length = stream.read(&mut piece).await.unwrap_or(0);
            let answer = answer(&String::from_utf8_lossy(&piece[..length]));
            let _ = stream.write_all(&answer).await;
        }
    });
    tasks.detach_all();
    address.into()
}

async fn found(answer: &'static [u8]) -> Check {
    let upstream = service(move |_| answer.to_vec()).await;
    examine(Some(&upstream), None).await
}

#[tokio::test]
async fn each_kind_is_known_with_its_cure() {
    for (answer, status, finding, cure) in [
        (&b"HTTP/1.1 200 OK\r\n\r\nhello"[..], Status::Ok, "answers 200", ""),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            Status::Failed,
            "wants TLS",
            "https://",
        ),
        (b"\x15\x03\x03\0\x02\x02\x46", Status::Failed, "speaks TLS", "https://127.0.0.1"),
        (b"\0\0\x12\x04\0\0\0\0\0", Status::Warning, "HTTP/2", "--upstream-protocol h2c"),
        (b"SSH-2.0-OpenSSH_9\r\n", Status::Warning, "`SSH-2.0-OpenSSH_9`", "tunnel tcp"),
        (b"", Status::Warning, "closes the connection", "tunnel tcp"),
        (b"\x1b[2J\n", Status::Warning, "\\u{1b}", "tunnel tcp"),
    ] {
        let check = found(answer).await;
        assert_eq!(check.status, status, "{check:?}");
        assert!(check.finding.contains(finding), "{check:?}");
        assert!(check.cure.as_deref().unwrap_or_default().contains(cure), "{check:?}");
    }
}

#[tokio::test]
async fn a_development_server_that_insists_on_its_host_is_named() {
    let vite = service(|asked| {
        let answer = if asked.contains("Host: 127.0.0.1") {
            "HTTP/1.1 200 OK\r\n\r\n<html>"
        } else {
            "HTTP/1.1 403 Forbidden\r\n\r\nBlocked request. This host (\"doctor.tunnel.example\") is not allowed."
        };
        answer.into()
    })
    .await;
    let check = examine(Some(&vite), None).await;
    assert_eq!(check.status, Status::Warning);
    assert!(check.finding.contains("answers 200") && check.finding.contains("Vite"), "{check:?}");
    assert!(check.cure.unwrap().contains("--host-header rewrite"));
}

#[tokio::test]
async fn nothing_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Upstream::from(listener.local_addr().unwrap());
    drop(listener);
    let check = examine(Some(&upstream), None).await;
    assert_eq!(check.status, Status::Failed);
    assert!(check.finding.contains("nothing listens"), "{check:?}");
    assert!(check.cure.unwrap().contains("start the local service"));
    assert_eq!(examine(None, None).await.status, Status::Skipped);
}

#[tokio::test]
async fn directories() {
    let home = tempfile::tempdir().unwrap();
    let site = Upstream::directory(home.path()).unwrap();
    assert_eq!(examine(Some(&site), None).await.status, Status::Ok);
    let gone = Upstream::directory(home.path().join("gone")).unwrap();
    let check = examine(Some(&gone), None).await;
    assert_eq!((check.status, check.cure.is_some()), (Status::Failed, true));
}
