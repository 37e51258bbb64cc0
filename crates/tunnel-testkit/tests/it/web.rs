//! Web tunnels through client and server together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};
use tunnel_client::Client;
use tunnel_protocol::InstanceId;
use tunnel_testkit::{FaultRelay, Site, Upstream, Visitor};

use crate::support::{PATIENCE, until};

#[tokio::test(flavor = "multi_thread")]
async fn two_owners_on_one_kept_alive_connection_never_get_each_others_answers() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let (first, second) = (Upstream::hello("first").await.unwrap(), Upstream::hello("second").await.unwrap());
    let one = site.client(&site.token("one")).connect().await.unwrap();
    let two = site.client(&site.token("two")).connect().await.unwrap();
    let _a = one.http().subdomain("a").forward(first.target()).await.unwrap();
    let _b = two.http().subdomain("b").forward(second.target()).await.unwrap();
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    for burst in 0..100 {
        let request = |n: usize| {
            let host = if n.is_multiple_of(2) { "a.test" } else { "B.test:80" };
            format!("GET /{burst}-{n} HTTP/1.1\r\nHost: {host}\r\n\r\n")
        };
        visitor.send((0..16).map(request).collect::<String>()).await.unwrap();
        for n in 0..16 {
            let answer = visitor.answer().await.unwrap();
            let owner = if n % 2 == 0 { "first" } else { "second" };
            let body = String::from_utf8(answer.body).unwrap();
            assert!(body.starts_with(&format!("{owner} /{burst}-{n} ")), "{body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_a_client_that_is_away_and_is_answered_on_its_return() {
    let mut site = Site::new().unwrap();
    site.config.timeouts.hold = PATIENCE;
    let server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::hello("here").await.unwrap();
    let token = site.token("one");
    for leaves_in_order in [true, false] {
        let start = || async {
            let builder = site.client(&token).instance(InstanceId([1; 16]));
            let client: Client = builder.connect().await.unwrap();
            let tunnel = client.http().subdomain("myapp").forward(upstream.target()).await.unwrap();
            (client, tunnel)
        };
        let (client, tunnel) = start().await;
        if leaves_in_order {
            client.drain(PATIENCE).await;
        }
        drop((client, tunnel));
        until(&server.handle, |now| now.sessions.is_empty()).await;
        let web = site.web_address();
        let waiting = tokio::spawn(async move { Visitor::get(web, "myapp.test", "/later").await });
        until(&server.handle, |now| now.tunnels[0].visitors == 1).await;
        let _back = start().await;
        let answer = waiting.await.unwrap().unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"here /later myapp.test\n"[..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_whose_lane_dies_is_sent_again_and_a_post_is_not() {
    for (method, status) in [("GET", 200), ("POST", 502)] {
        let site = Site::new().unwrap();
        let server = site.start(Vec::new()).unwrap();
        let relay = FaultRelay::start(site.control_address()).await.unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let arrived = Arc::new(Notify::new());
        let (counter, notify) = (requests.clone(), arrived.clone());
        // Leaves the first request without an answer, and answers whatever comes after it.
        let upstream = Upstream::start(move |mut stream| {
            let (counter, notify) = (counter.clone(), notify.clone());
            async move {
                let mut head = vec![0; 4096];
                if !stream.read(&mut head).await.is_ok_and(|n| n > 0) {
                    return;
                }
                let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
                notify.notify_one();
                if !first {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                }
                let _ = stream.read(&mut head).await;
            }
        });
        let upstream = upstream.await.unwrap();
        let client = site.client_at(relay.address(), &site.token("one")).connect().await.unwrap();
        let _tunnel = client.http().subdomain("myapp").forward(upstream.target()).await.unwrap();
        let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
        let request = format!("{method} / HTTP/1.1\r\nHost: myapp.test\r\nContent-Length: 0\r\n\r\n");
        visitor.send(request).await.unwrap();
        arrived.notified().await;
        relay.cut();
        let answer = tokio::time::timeout(PATIENCE, visitor.answer()).await.unwrap().unwrap();
        assert_eq!(answer.status, status, "{method}: {}", answer.head);
        let sent = if method == "GET" { 2 } else { 1 };
        assert_eq!(requests.load(Ordering::SeqCst), sent, "{method}");
        assert_eq!(server.handle.snapshot().retries, sent as u64 - 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_answer_is_cut_for_the_visitor_too() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    for head in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let upstream = Upstream::start(move |mut stream| async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let part = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello\r\n");
            let _ = stream.write_all(part.as_bytes()).await;
        });
        let upstream = upstream.await.unwrap();
        let _tunnel = client.http().subdomain("myapp").forward(upstream.target()).await.unwrap();
        let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
        visitor.send("GET / HTTP/1.1\r\nHost: myapp.test\r\n\r\n").await.unwrap();
        let cut = tokio::time::timeout(PATIENCE, visitor.answer()).await.unwrap();
        assert!(cut.is_err(), "{head}: {cut:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_reaches_the_visitor_while_the_answer_goes_on() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let wait = Arc::new(Notify::new());
    let waiting = wait.clone();
    let upstream = Upstream::start(move |mut stream| {
        let wait = waiting.clone();
        async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
            for n in 0..10 {
                let event = format!("data: {n}\n\n");
                let _ = stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await;
                // The next one only after the visitor has this one.
                wait.notified().await;
            }
            let _ = stream.write_all(b"0\r\n\r\n").await;
        }
    });
    let upstream = upstream.await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let _tunnel = client.http().subdomain("myapp").forward(upstream.target()).await.unwrap();
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    visitor.send("GET / HTTP/1.1\r\nHost: myapp.test\r\n\r\n").await.unwrap();
    visitor.head().await.unwrap();
    for n in 0..10 {
        let chunk = format!("9\r\ndata: {n}\n\n\r\n");
        let read = tokio::time::timeout(PATIENCE, visitor.exactly(chunk.len())).await;
        assert_eq!(String::from_utf8(read.unwrap().unwrap()).unwrap(), chunk);
        wait.notify_one();
    }
    assert_eq!(visitor.exactly(5).await.unwrap(), b"0\r\n\r\n");
}
