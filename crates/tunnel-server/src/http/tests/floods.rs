//! Hostile HTTP/2, written by hand: each flood ends its own connection, and nobody else notices.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tunnel_mux::Stream;

use super::{
    http2::{Visitor, h2_tunnel},
    world::{HANG, World, field},
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET http://a.test/` in HPACK: three fields of the static table, and a literal.
const GET: &[u8] = b"\x82\x86\x84\x01\x06a.test";
/// `POST`, the same.
const POST: &[u8] = b"\x83\x86\x84\x01\x06a.test";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Streams as visitors number them.
fn stream(index: usize) -> u32 {
    u32::try_from(index * 2 + 1).unwrap()
}

async fn connect(world: &World) -> TcpStream {
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    socket
}

/// Sends until the connection is ended, at most `most` times, and returns whether it was.
async fn is_ended_by(mut socket: TcpStream, most: usize, mut next: impl FnMut(usize) -> Vec<u8>) -> bool {
    let (mut from, mut to) = socket.split();
    let sending = async {
        for index in 0..most {
            if to.write_all(&next(index)).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let hearing = async {
        let mut heard = vec![0; 65_536];
        loop {
            match from.read(&mut heard).await {
                Ok(0) => return Ok::<_, io::Error>(()),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    };
    tokio::select! {
        () = sending => false,
        // An end or a reset: either will do.
        _ended = timeout(HANG, hearing) => _ended.is_ok(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flood_ends_its_connection_and_another_visitor_is_served() {
    let world = World::new();
    let request = |index| frame(HEADERS, END_STREAM | END_HEADERS, stream(index), GET);
    let cancel = 8_u32.to_be_bytes();
    type Next<'a> = Box<dyn FnMut(usize) -> Vec<u8> + 'a>;
    let floods: Vec<(&str, Next<'_>)> = vec![
        // No tunnel is there, so that each request is answered at once; those that are answered first cost nothing.
        ("SETTINGS", Box::new(|_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]))),
        ("PING", Box::new(|_| frame(PING, 0, 0, b"12345678"))),
        ("PRIORITY", Box::new(|index| frame(PRIORITY, 0, stream(index), &[0, 0, 0, 0, 1]))),
        ("unknown frames", Box::new(|_| frame(0x42, 0, 0, &[]))),
        ("WINDOW_UPDATE", Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()))),
        (
            "empty DATA",
            Box::new(|index| match index {
                0 => frame(HEADERS, END_HEADERS, 1, POST),
                _ => frame(DATA, 0, 1, &[]),
            }),
        ),
        (
            "empty CONTINUATION",
            Box::new(|index| match index {
                0 => frame(HEADERS, END_STREAM, 1, GET),
                _ => frame(CONTINUATION, 0, 1, &[]),
            }),
        ),
        (
            "CONTINUATION",
            Box::new(|index| match index {
                0 => frame(HEADERS, END_STREAM, 1, GET),
                // A literal field, never indexed.
                _ => frame(CONTINUATION, 0, 1, &[&b"\x10\x01x\x7e"[..], &[b'y'; 126]].concat()),
            }),
        ),
        (
            "a head that grows when decoded",
            Box::new(|index| match index {
                // One large entry for the table, then nothing but references to it.
                0 => [frame(
                    HEADERS,
                    END_STREAM,
                    1,
                    &[GET, b"\x40\x01x\x7f\xf1\x1e", &[b'y'; 4080][..]].concat(),
                )]
                .concat(),
                _ => frame(CONTINUATION, 0, 1, &[0xbe; 1000]),
            }),
        ),
        (
            "MadeYouReset",
            // Each has us reset a stream of its own: a window that grows by nothing (RFC 9113 §6.9).
            Box::new(|index| {
                [request(index), frame(WINDOW_UPDATE, 0, stream(index), &0_u32.to_be_bytes())].concat()
            }),
        ),
    ];
    for (name, next) in floods {
        assert!(is_ended_by(connect(&world).await, 1_000_000, next).await, "{name}");
        let mut visitor = Visitor::new(&world).await;
        assert_eq!(visitor.get("http://b.test/").await.0.status(), 404, "after {name}");
    }
    let mut held = World::with(|config| config.timeouts.hold = Duration::from_secs(60));
    let client = held.tunnel("a.test");
    let endpoint = client.die();
    endpoint.set_state(crate::endpoint::State::Away { until: tokio::time::Instant::now() + HANG });
    let socket = connect(&held).await;
    let rapid = |index| [request(index), frame(RST_STREAM, 0, stream(index), &cancel)].concat();
    assert!(is_ended_by(socket, 1_000_000, rapid).await, "rapid reset");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_end_has_a_deadline() {
    let world = World::with(|config| config.timeouts.head = Duration::from_millis(300));
    for begun in [
        &b"PRI * HTTP/2.0\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00",
        &[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, 1, 1, GET)]
            .concat(),
        // Nothing asked at all.
        &[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat(),
    ] {
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        socket.write_all(begun).await.unwrap();
        let mut heard = Vec::new();
        // An end or a reset: either will do.
        let _ended = timeout(HANG, socket.read_to_end(&mut heard)).await.expect("it is ended");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn talk_that_comes_of_being_answered_is_no_flood() {
    let world = World::new();
    let mut socket = connect(&world).await;
    let (mut from, mut to) = socket.split();
    // Two updates and a PING for each answer, as eager programs have it: more of them than any purse holds.
    let mut heard = vec![0; 65_536];
    for index in 0..2000 {
        let asked = [
            frame(HEADERS, END_STREAM | END_HEADERS, stream(index), GET),
            frame(WINDOW_UPDATE, 0, 0, &100_u32.to_be_bytes()),
            frame(WINDOW_UPDATE, 0, 0, &100_u32.to_be_bytes()),
            frame(PING, 0, 0, b"12345678"),
        ];
        to.write_all(&asked.concat()).await.unwrap();
        assert_ne!(timeout(HANG, from.read(&mut heard)).await.unwrap().unwrap(), 0, "ended after {index}");
    }
}

/// Waits for the head of a request.
async fn asked(upstream: &mut Stream) {
    upstream.read_exact(&mut [0; 24]).await.unwrap();
    loop {
        let mut header = [0; 9];
        upstream.read_exact(&mut header).await.unwrap();
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        upstream.read_exact(&mut vec![0; length as usize]).await.unwrap();
        if header[3] == HEADERS {
            return;
        }
    }
}

/// `:status: 103`, and `:status: 200`, in HPACK.
const EARLY_HINTS: &[u8] = b"\x08\x03103";
const OK: &[u8] = b"\x88";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_floods_is_given_up() {
    let settings = frame(SETTINGS, 0, 0, &[]);
    let floods: [(&str, usize, Vec<u8>); 4] = [
        ("interim", 101, frame(HEADERS, END_HEADERS, 1, EARLY_HINTS)),
        ("ask for nothing", 2000, settings.clone()),
        ("ask for nothing", 2000, frame(PING, 0, 0, b"12345678")),
        ("ask for nothing", 2000, frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
    ];
    for (why, count, flood) in floods {
        let mut world = World::new();
        let mut client = h2_tunnel(&mut world, "a.test");
        let mut visitor = world.get("a.test", "/").await;
        let mut upstream = client.accept().await;
        upstream.io.write_all(&settings).await.unwrap();
        asked(&mut upstream.io).await;
        let (from, mut to) = tokio::io::split(upstream.io);
        // Whoever answers a flood is read, or it would end by that.
        let hearing = async { tokio::io::copy(&mut { from }, &mut tokio::io::sink()).await };
        let flooding = async {
            for _ in 0..count {
                if to.write_all(&flood).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let answered = async { timeout(HANG, visitor.answer()).await.unwrap() };
        let (head, page) = tokio::select! {
            answer = answered => answer,
            _ = async { tokio::join!(hearing, flooding) } => unreachable!("flooding goes on until there is an answer"),
        };
        assert_eq!(field(&head, "tunnel-error"), Some("upstream-malformed"), "{why}: {head}");
        assert!(page.contains(why), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_answers_and_talk_of_an_upstream_in_use_are_no_flood() {
    let mut world = World::new();
    let mut client = h2_tunnel(&mut world, "a.test");
    let mut visitor = world.get("a.test", "/").await;
    let mut upstream = client.accept().await;
    upstream.io.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    asked(&mut upstream.io).await;
    for _ in 0..100 {
        let said = [
            frame(HEADERS, END_HEADERS, 1, EARLY_HINTS),
            frame(PING, 0, 0, b"12345678"),
            frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
        ];
        upstream.io.write_all(&said.concat()).await.unwrap();
    }
    upstream.io.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, OK)).await.unwrap();
    assert!(visitor.head().await.starts_with("http/1.1 200 "));
}
