//! Traces, which a program has that was built with the feature `otel`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};

use rustix::process::Signal;

use crate::support::{User, text, visit};

/// Longer than anything here takes: only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(60);

/// A receiver that takes everything: its port, and each request as head and body.
fn receiver() -> (u16, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = sync_channel(16);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap() > 0 {}
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.unwrap().parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            // The server may not wait for it.
            let _ = stream
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = tell.send((head, body));
        }
    });
    (port, told)
}

#[test]
fn a_server_that_is_stopped_sends_the_spans_that_it_has() {
    let (user, (port, told)) = (User::new(), receiver());
    let words = format!("--otlp-endpoint http://127.0.0.1:{port} --otlp-service edge --domain localhost");
    let (server, listening) = user.server(&words);
    let web = listening["web"].as_str().unwrap().parse().unwrap();
    assert_eq!(visit("http://nobody.localhost", web).0, 404);
    server.signal(Signal::TERM);
    let (head, body) = told.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    let body = String::from_utf8_lossy(&body);
    for part in ["edge", "GET", "nobody.localhost", "tunnel-not-found"] {
        assert!(body.contains(part), "{part}: {body}");
    }
    assert_eq!(server.status(), Some(0));
}

#[test]
fn a_receiver_that_cant_be_is_refused_in_one_line() {
    let user = User::new();
    for words in ["--otlp-endpoint localhost:4318", "--otlp-sample 0.5"] {
        let output = user.output(&format!("server --data-dir data {words}"));
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("http://localhost:4318"), "{}", text(&output.stderr));
    }
}
