//! The relay between real TCP sockets.

use std::hash::{DefaultHasher, Hasher};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;

/// Both ends of a loopback connection.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

const MIB: usize = 1 << 20;

/// Says `total` bytes made from `seed` while hearing the peer out: sums of what was said and heard.
async fn talk(stream: TcpStream, seed: u64, total: usize) -> (u64, u64, usize) {
    let (mut from, mut to) = stream.into_split();
    let say = async move {
        let mut sum = DefaultHasher::new();
        let mut word = seed;
        let mut piece = vec![0; 40_000];
        let mut left = total;
        while left > 0 {
            for bytes in piece.chunks_mut(8) {
                word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(seed | 1);
                bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
            }
            let length = piece.len().min(left);
            to.write_all(&piece[..length]).await.unwrap();
            piece[..length].iter().for_each(|&byte| sum.write_u8(byte));
            left -= length;
        }
        to.shutdown().await.unwrap();
        sum.finish()
    };
    let hear = async move {
        let mut sum = DefaultHasher::new();
        let mut piece = vec![0; 50_000];
        let mut total = 0;
        loop {
            let length = from.read(&mut piece).await.unwrap();
            if length == 0 {
                return (sum.finish(), total);
            }
            piece[..length].iter().for_each(|&byte| sum.write_u8(byte));
            total += length;
        }
    };
    let (said, (heard, total)) = tokio::join!(say, hear);
    (said, heard, total)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_transfers_both_ways_at_once() {
    let (a_peer, mut a) = connection().await;
    let (b_peer, mut b) = connection().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let relayed = relay(&mut a, &mut b, RelayOptions::default()).await;
        relayed.end.unwrap();
        assert_eq!((relayed.a_to_b, relayed.b_to_a), (16 * MIB as u64, 17 * MIB as u64));
    });
    let (at_a, at_b) = tokio::join!(talk(a_peer, 5, 16 * MIB), talk(b_peer, 6, 17 * MIB));
    assert_eq!((at_a.0, 16 * MIB), (at_b.1, at_b.2), "what a said, b heard");
    assert_eq!((at_b.0, 17 * MIB), (at_a.1, at_a.2), "what b said, a heard");
    tasks.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_reset_is_an_error_and_the_other_side_stays_open() {
    let (a_peer, mut a) = connection().await;
    let (b_peer, mut b) = connection().await;
    a_peer.set_zero_linger().unwrap();
    drop(a_peer);
    let error = relay(&mut a, &mut b, RelayOptions::default()).await.end.unwrap_err();
    assert_eq!((error.side, error.operation), (Side::A, Operation::Read));
    assert_eq!(error.source.kind(), io::ErrorKind::ConnectionReset);
    // The caller's part of the promise.
    b.set_zero_linger().unwrap();
    drop(b);
    let mut b_peer = b_peer;
    assert_eq!(b_peer.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_question_an_answer_and_a_clean_end() {
    let (mut a_peer, mut a) = connection().await;
    let (mut b_peer, mut b) = connection().await;
    let visitor = async {
        a_peer.write_all(b"GET").await.unwrap();
        a_peer.shutdown().await.unwrap();
        let mut answer = String::new();
        a_peer.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let upstream = async {
        let mut question = String::new();
        b_peer.read_to_string(&mut question).await.unwrap();
        b_peer.write_all(b"200").await.unwrap();
        drop(b_peer);
        question
    };
    let (relayed, answer, question) =
        tokio::join!(relay(&mut a, &mut b, RelayOptions::default()), visitor, upstream);
    relayed.end.unwrap();
    assert_eq!((question.as_str(), answer.as_str()), ("GET", "200"));
}
