//! The relay against streams that are slow, tiny, cut short, buffered, broken, or real sockets.

mod chaos;
mod memory;
mod script;
mod sockets;

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// What both ends hear when A's peer and B's peer say these things at once, and the relay's end.
async fn exchange(size: usize, chunk: usize, from_a: &[u8], from_b: &[u8]) -> (Relayed, Vec<u8>, Vec<u8>) {
    let (mut a_peer, mut a) = duplex(size);
    let (mut b_peer, mut b) = duplex(size);
    let meter = Meter::new();
    let options = RelayOptions { meter: Some(&meter), chunk };
    let (end, at_a, at_b) = tokio::join!(
        relay(&mut a, &mut b, options),
        say_and_hear(&mut a_peer, from_a),
        say_and_hear(&mut b_peer, from_b),
    );
    assert_eq!((meter.a_to_b(), meter.b_to_a()), (end.a_to_b, end.b_to_a));
    (end, at_a, at_b)
}

async fn say_and_hear(peer: &mut DuplexStream, words: &[u8]) -> Vec<u8> {
    let (mut from, mut to) = tokio::io::split(peer);
    let mut heard = Vec::new();
    let say = async {
        to.write_all(words).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let hear = async { from.read_to_end(&mut heard).await.unwrap() };
    tokio::join!(say, hear);
    heard
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(31) >> 3).to_le_bytes()[0] ^ seed).collect()
}

#[tokio::test]
async fn both_ways_at_once_through_tiny_buffers() {
    for size in [1, 2, 3, 7, 16, 63, 64] {
        for chunk in [0, 1, 5, 64, usize::MAX] {
            let (from_a, from_b) = (pattern(700, 1), pattern(1100, 2));
            let (end, at_a, at_b) = exchange(size, chunk, &from_a, &from_b).await;
            end.end.unwrap();
            assert_eq!((end.a_to_b, end.b_to_a), (700, 1100));
            assert!(at_a == from_b && at_b == from_a, "buffers of {size}, chunks of {chunk}");
        }
    }
}

#[tokio::test]
async fn nothing_said_is_a_clean_end() {
    let (end, at_a, at_b) = exchange(8, 64, b"", b"").await;
    end.end.unwrap();
    assert_eq!((end.a_to_b, end.b_to_a), (0, 0));
    assert!(at_a.is_empty() && at_b.is_empty());
    let (end, at_a, _) = exchange(8, 64, b"", b"only b speaks").await;
    end.end.unwrap();
    assert_eq!(at_a, b"only b speaks");
}

/// One side says its last word; the other hears the end and only then answers.
#[tokio::test]
async fn half_close_leaves_the_other_direction_open() {
    for a_first in [true, false] {
        let (a_peer, mut a) = duplex(4);
        let (b_peer, mut b) = duplex(4);
        let (mut first, mut second) = if a_first { (a_peer, b_peer) } else { (b_peer, a_peer) };
        let first = async {
            first.write_all(b"question").await.unwrap();
            first.shutdown().await.unwrap();
            let mut heard = String::new();
            first.read_to_string(&mut heard).await.unwrap();
            heard
        };
        let second = async {
            let mut heard = String::new();
            second.read_to_string(&mut heard).await.unwrap();
            second.write_all(b"a long answer").await.unwrap();
            second.shutdown().await.unwrap();
            heard
        };
        let (end, answer, question) =
            tokio::join!(relay(&mut a, &mut b, RelayOptions::default()), first, second);
        end.end.unwrap();
        assert_eq!((question.as_str(), answer.as_str()), ("question", "a long answer"));
    }
}

#[tokio::test]
async fn a_peer_that_never_reads_does_not_stop_the_other_direction() {
    let (mut a_peer, mut a) = duplex(16);
    let (mut b_peer, mut b) = duplex(16);
    let mut relaying = relay(&mut a, &mut b, RelayOptions::default());
    let one_way = async {
        // Fills everything between A's peer and B's peer, who never reads.
        let flood = async { a_peer.write_all(&[0; 4096]).await };
        let mut flood = std::pin::pin!(flood);
        assert!(std::future::poll_fn(|cx| Poll::Ready(flood.as_mut().poll(cx).is_pending())).await);
    };
    tokio::select! {
        biased;
        () = one_way => {}
        _ = &mut relaying => unreachable!("nobody said EOF"),
    }
    let words = pattern(10_000, 3);
    let mut heard = vec![0; words.len()];
    let back = async {
        tokio::join!(async { b_peer.write_all(&words).await.unwrap() }, async {
            a_peer.read_exact(&mut heard).await.unwrap()
        },)
    };
    tokio::select! {
        _ = back => {}
        _ = &mut relaying => unreachable!("nobody said EOF"),
    }
    assert_eq!(heard, words);
    assert!(relaying.a_to_b.moved() >= 16, "the flooded direction is full, not idle");
}

#[tokio::test]
async fn a_writer_whose_peer_has_gone_ends_the_relay() {
    let (mut a_peer, mut a) = duplex(64);
    let (b_peer, mut b) = duplex(64);
    a_peer.write_all(b"to nobody").await.unwrap();
    drop(b_peer);
    let relayed = relay(&mut a, &mut b, RelayOptions::default()).await;
    let error = relayed.end.unwrap_err();
    assert_eq!((error.side, error.operation), (Side::B, Operation::Write));
    assert_eq!(error.source.kind(), io::ErrorKind::BrokenPipe);
    assert_eq!((relayed.a_to_b, relayed.b_to_a), (0, 0));
    assert_eq!(error.to_string(), "writing to side B failed");
    // The other side has not been closed: to its peer the transfer must not look finished.
    assert!(!a_peer_heard_the_end(&mut a_peer).await);
}

/// Whether the relay told A's peer of an end, orderly or not.
async fn a_peer_heard_the_end(peer: &mut DuplexStream) -> bool {
    let mut byte = [0];
    let mut read = std::pin::pin!(peer.read(&mut byte));
    std::future::poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_ready())).await
}

#[tokio::test]
async fn unsized_streams_are_relayed_too() {
    let (mut a_peer, a) = duplex(4);
    let (mut b_peer, b) = duplex(4);
    let (mut a, mut b): (crate::BoxedIo, crate::BoxedIo) = (Box::new(a), Box::new(b));
    let (end, at_a, at_b) = tokio::join!(
        relay(&mut *a, &mut *b, RelayOptions::default()),
        say_and_hear(&mut a_peer, b"ping"),
        say_and_hear(&mut b_peer, b"pong"),
    );
    end.end.unwrap();
    assert_eq!((at_a.as_slice(), at_b.as_slice()), (&b"pong"[..], &b"ping"[..]));
}
