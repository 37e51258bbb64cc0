//! The small site over a real socket.

use std::fs;

use tokio::io::AsyncReadExt;

use super::*;

async fn ask(site: Site, requests: &str) -> String {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener, site));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn the_sample_shows_the_request_and_keeps_the_connection() {
    let answer =
        ask(Site::sample(), &format!("GET /first HTTP/1.1\r\nHost: x\r\n\r\n{}", get("/second"))).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 2);
    assert!(answer.contains("GET /first") && answer.contains("GET /second"));
}

#[tokio::test]
async fn other_methods_and_bodies_end_the_connection() {
    let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    let answer = ask(Site::sample(), post).await;
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn files_and_nothing_beside_them() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("site");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(home.path().join("secret.txt"), "secret").unwrap();
    fs::write(root.join("a.txt"), "text of a").unwrap();
    fs::write(root.join(".env"), "secret").unwrap();
    fs::write(root.join("sub/index.html"), "<p>index").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(home.path().join("secret.txt"), root.join("link.txt")).unwrap();
    for (path, status, holds) in [
        ("/a.txt", 200, "text of a"),
        ("/a.txt?x=1", 200, "text/plain"),
        ("/", 200, "href=\"./sub/\""),
        ("/sub", 301, "location: /sub/\r\n"),
        ("/sub/", 200, "<p>index"),
        ("/none", 404, "404"),
        ("/.env", 404, ""),
        ("/link.txt", 404, ""),
        ("/../secret.txt", 404, ""),
        ("/%2e%2e/secret.txt", 404, ""),
    ] {
        let answer = ask(Site::of(&root).unwrap(), &get(path)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert!(answer.contains(holds), "{path}: {answer}");
        assert!(!answer.contains("secret"), "{path}: {answer}");
    }
    let head = ask(Site::of(&root).unwrap(), &get("/a.txt").replace("GET", "HEAD")).await;
    assert!(head.contains("content-length: 9\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn only_a_directory_can_be_shown() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(Site::of(&file).is_err());
    assert!(Site::of(&home.path().join("none")).is_err());
}
