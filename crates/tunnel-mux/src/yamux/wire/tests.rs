//! The wire alone: what it keeps while idle, and what it does to frames.

use std::collections::VecDeque;
use std::task::Waker;

use super::header::{ACK, DATA, HEADER_LEN, PING, RST, SYN, WINDOW_UPDATE};
use super::*;

fn header(kind: u8, flags: u16, stream: u32, length: u32) -> [u8; HEADER_LEN] {
    Header { version: 0, kind, flags, stream, length }.encode()
}

/// Gives what it was given, and keeps what it gets.
struct Socket {
    input: VecDeque<u8>,
    output: Vec<u8>,
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut futures::io::AllowStdIo::new(&mut self.input)).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.output.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn wire(input: Vec<u8>) -> Wire<Socket> {
    let shared = Arc::new(Shared::new(1, 3, None));
    let wire = SharedWire::new(Socket { input: input.into(), output: vec![] }, Activity::new(), shared);
    Arc::into_inner(wire.0).unwrap().into_inner().unwrap()
}

/// All that yamux would read.
fn read(wire: &mut Wire<Socket>) -> Vec<u8> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut all = Vec::new();
    let mut piece = [0; 5];
    while let Poll::Ready(Ok(n @ 1..)) = wire.poll_read(&mut cx, &mut piece) {
        all.extend_from_slice(&piece[..n]);
    }
    all
}

/// What the socket gets for the frames yamux writes.
fn written(wire: &mut Wire<Socket>, frames: &[[u8; HEADER_LEN]]) -> Vec<Header> {
    let mut cx = Context::from_waker(Waker::noop());
    for frame in frames {
        assert!(matches!(wire.poll_write(&mut cx, frame), Poll::Ready(Ok(HEADER_LEN))));
    }
    assert!(matches!(wire.poll_flush(&mut cx), Poll::Ready(Ok(()))));
    let output = std::mem::take(&mut wire.io.output);
    let (frames, rest) = output.as_chunks();
    assert!(rest.is_empty());
    frames.iter().map(|frame| Header::decode(*frame)).collect()
}

#[test]
fn a_header_survives_encoding() {
    let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    assert_eq!(Header::decode(bytes).encode(), bytes);
}

#[test]
fn an_idle_wire_holds_no_buffer() {
    let mut wire = wire([header(DATA, 0, 1, 3).as_slice(), b"abc"].concat());
    assert_eq!(read(&mut wire).len(), HEADER_LEN + 3);
    written(&mut wire, &[header(WINDOW_UPDATE, 0, 1, 5)]);
    assert!(!wire.received.holds_memory() && !wire.to_send.holds_memory());
    assert_eq!(wire.inbound.replies.capacity(), 0);
}

#[test]
fn a_ping_is_answered_unseen_by_yamux() {
    let mut wire = wire([header(PING, SYN, 0, 9), header(PING, ACK, 0, 8)].concat());
    assert_eq!(read(&mut wire), header(PING, ACK, 0, 8));
    assert_eq!(written(&mut wire, &[]), [Header::pong(9)]);
}

#[test]
fn a_reset_reaches_yamux_as_an_end_that_wakes_the_writer() {
    let mut wire =
        wire([header(DATA, RST | ACK, 2, 3).as_slice(), b"abc", &header(DATA, FIN, 2, 0)].concat());
    let mark = wire.adopt_outbound(2).unwrap();
    let seen = [header(WINDOW_UPDATE, FIN | ACK, 2, 0), header(DATA, FIN, 2, 0)].concat();
    assert_eq!(read(&mut wire), seen);
    assert!(mark.peer_reset() && !mark.peer_finished(), "an end after a reset counts for nothing");
}

#[test]
fn an_end_counts_once_its_body_is_through() {
    let mut wire = wire([header(DATA, FIN, 2, 3).as_slice(), b"ab"].concat());
    let mark = wire.adopt_outbound(2).unwrap();
    read(&mut wire);
    assert!(!mark.peer_finished());
}

#[test]
fn an_empty_frame_goes_out_as_a_shutdown() {
    let mut wire = wire(vec![]);
    wire.adopt_outbound(2).unwrap();
    let sent = written(&mut wire, &[header(DATA, SYN, 2, 0)]);
    assert_eq!(sent, [Header::decode(header(DATA, SYN | FIN, 2, 0))]);
}

#[test]
fn yamuxs_farewell_goes_out_as_what_the_peer_needs() {
    // (what the peer did, what we did, whether it needs a reset)
    for (peer, ours, needs) in [
        (vec![], vec![], false),
        (vec![], vec![header(WINDOW_UPDATE, SYN, 2, 0)], true),
        (vec![], vec![header(DATA, SYN, 2, 0)], true),
        (header(DATA, FIN, 2, 0).to_vec(), vec![header(WINDOW_UPDATE, SYN, 2, 0)], true),
        (header(DATA, FIN, 2, 0).to_vec(), vec![header(DATA, SYN, 2, 0)], false),
        (header(DATA, RST, 2, 0).to_vec(), vec![header(WINDOW_UPDATE, SYN, 2, 0)], false),
    ] {
        for farewell in [FIN, RST] {
            let mut wire = wire(vec![]);
            wire.adopt_outbound(2).unwrap();
            written(&mut wire, &ours);
            wire.io.input.extend(&peer);
            read(&mut wire);
            let sent = written(&mut wire, &[header(DATA, farewell, 2, 0)]);
            assert_eq!(sent, Vec::from_iter(needs.then(|| Header::reset(2))));
            assert!(wire.marks.get(2).is_none());
        }
    }
}

#[test]
fn a_stream_too_many_is_refused_unseen_by_yamux() {
    let refused = [header(DATA, SYN, 7, 3).as_slice(), b"abc"].concat();
    let mut wire = wire([refused.as_slice(), &header(DATA, FIN, 1, 0)].concat());
    wire.adopt_inbound(1).unwrap();
    wire.adopt_inbound(3).unwrap();
    assert_eq!(read(&mut wire), header(DATA, FIN, 1, 0));
    assert_eq!(written(&mut wire, &[]), [Header::reset(7)]);
}

#[test]
fn two_streams_of_one_number_end_the_lane() {
    let mut wire = wire(vec![]);
    wire.adopt_inbound(1).unwrap();
    assert!(matches!(wire.adopt_inbound(1), Err(LaneError::Protocol(_))));
}
