//! The frames of a UDP tunnel's flow, as both sides read them from a peer that may lie.

use std::task::{Context, Waker};
use std::time::Instant;

use tunnel_protocol::datagram::{DATAGRAM_MAX, Decoder, FlowError, Frame, Outbox, QUEUE_BYTES};

use crate::{cut, memory};

/// Reads `data` as a flow's frames, however it is cut, and says them back.
pub fn check(data: &[u8]) {
    let (frames, end) = read([data].into_iter());
    let cut = read(cut::pieces(data));
    assert_eq!((&frames, end), (&cut.0, cut.1), "the cuts matter");
    let mut again = Vec::new();
    for frame in &frames {
        let before = again.len();
        frame.encode(&mut again);
        assert_eq!(again.len() - before, frame.len_on_stream());
    }
    assert!(data.starts_with(&again), "what was read is not what was there");
    converse(&frames);
}

/// The frames, and how it ended: in an error, or at a frame's boundary or not.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Result<bool, FlowError>) {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for piece in pieces {
        // An unfinished frame, doubled while it grows, and a piece.
        let most = 4 * (DATAGRAM_MAX + piece.len());
        memory::within(most, || decoder.push(piece));
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    (frames, Ok(decoder.is_empty()))
}

/// An outbox that answers each datagram with the same, and believes or refuses the peer's receipts.
fn converse(frames: &[Frame]) {
    let (mut outbox, now) = (Outbox::default(), Instant::now());
    let mut sent = 0;
    for frame in frames {
        if let Frame::Datagram(payload) = frame {
            outbox.push(payload, now);
            assert!(outbox.queued() <= QUEUE_BYTES);
        }
        let believed = outbox.took(frame, now);
        assert!(matches!((frame, believed), (Frame::Datagram(_), Ok(())) | (Frame::Receipt(_), _)));
        if let Frame::Receipt(total) = frame
            && *total > sent
        {
            assert_eq!(believed, Err(FlowError::Receipt));
        }
        while let std::task::Poll::Ready(batch) =
            outbox.poll_batch(&mut Context::from_waker(Waker::noop()), now)
        {
            let (said, end) = read([&batch.bytes[..]].into_iter());
            assert_eq!(end, Ok(true));
            let datagrams = said.iter().filter(|frame| matches!(frame, Frame::Datagram(_)));
            sent += datagrams.map(|frame| frame.len_on_stream() as u64).sum::<u64>();
        }
    }
}
