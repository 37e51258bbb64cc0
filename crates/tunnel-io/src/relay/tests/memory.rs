//! What a relay costs while nothing moves, and at most.

use std::task::Waker;

use tokio::net::TcpStream;

use super::*;

#[test]
fn the_future_is_small() {
    let size = size_of::<Relay<'_, TcpStream, TcpStream>>();
    assert!(size <= 192, "{size} bytes for each of ten thousand visitors");
    let size = size_of::<Relay<'_, dyn crate::Io, dyn crate::Io>>();
    assert!(size <= 208, "{size} bytes for each of ten thousand visitors");
}

#[tokio::test]
async fn an_idle_relay_holds_no_buffer_even_after_traffic() {
    let (mut a_peer, mut a) = duplex(8);
    let (mut b_peer, mut b) = duplex(8);
    let mut relaying = relay(&mut a, &mut b, RelayOptions::default());
    let question = pattern(5000, 4);
    let mut heard = vec![0; question.len()];
    let traffic = async {
        tokio::join!(async { a_peer.write_all(&question).await.unwrap() }, async {
            b_peer.read_exact(&mut heard).await.unwrap()
        },)
    };
    tokio::select! {
        _ = traffic => {}
        _ = &mut relaying => unreachable!("nobody said EOF"),
    }
    assert_eq!(heard, question);
    assert!(Pin::new(&mut relaying).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(relaying.a_to_b.holds_nothing() && relaying.b_to_a.holds_nothing());
    assert_eq!(relaying.a_to_b.moved(), 5000);
}

#[tokio::test]
async fn a_stalled_relay_holds_one_chunk_each_way_at_most() {
    for (chunk, bound) in [(1, 1), (1000, 1000), (usize::MAX, RelayOptions::MAX_CHUNK)] {
        let (mut a_peer, mut a) = duplex(1 << 20);
        let (mut b_peer, mut b) = duplex(1 << 20);
        // Both sides have said much, and neither can be told anything.
        let full = vec![0; 1 << 20];
        a.write_all(&full).await.unwrap();
        b.write_all(&full).await.unwrap();
        a_peer.write_all(&full).await.unwrap();
        b_peer.write_all(&full).await.unwrap();
        let mut relaying = relay(&mut a, &mut b, RelayOptions { chunk, ..RelayOptions::default() });
        for _ in 0..100 {
            assert!(Pin::new(&mut relaying).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!((relaying.a_to_b.held(), relaying.b_to_a.held()), (bound, bound));
    }
}

#[test]
fn debug_shows_amounts_and_no_bytes() {
    let (mut a, mut b) = (duplex(8).0, duplex(8).0);
    let shown = format!("{:?}", relay(&mut a, &mut b, RelayOptions::default()));
    assert_eq!(
        shown,
        "Relay { a_to_b: moving, 0 bytes moved, 0 held, b_to_a: moving, 0 bytes moved, 0 held, .. }"
    );
}
