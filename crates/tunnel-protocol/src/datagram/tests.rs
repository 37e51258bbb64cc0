//! Frames in any pieces, and what an outbox sends and lets go.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;

fn datagram(payload: impl Into<Vec<u8>>) -> Frame {
    Frame::Datagram(Bytes::from(payload.into()))
}

fn encoded(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut bytes));
    bytes
}

fn decoded<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Frame>, FlowError> {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
    }
    assert!(decoder.is_empty());
    Ok(frames)
}

#[test]
fn golden() {
    // Other implementations rely on these exact bytes: see docs/PROTOCOL.md.
    let bytes = encoded(&[datagram("ping"), datagram(""), Frame::Receipt(8)]);
    assert_eq!(data_encoding::HEXLOWER.encode(&bytes), "000470696e670000ffff0000000000000008");
}

#[test]
fn frames_of_all_sizes_round_trip() {
    for length in [0, 1, 1500, DATAGRAM_MAX] {
        let frame = datagram(vec![7; length]);
        let bytes = encoded(std::slice::from_ref(&frame));
        assert_eq!(bytes.len(), frame.len_on_stream());
        assert_eq!(decoded([&bytes[..]].into_iter()), Ok(vec![frame.clone()]));
        assert_eq!(decoded(bytes.chunks(1)), Ok(vec![frame]));
    }
    assert!(encoded(&[datagram(vec![0; DATAGRAM_MAX + 1])]).is_empty());
}

#[test]
fn reserved_prefixes_end_the_flow() {
    for prefix in [65_508_u16, 65_534] {
        assert_eq!(decoded([&prefix.to_be_bytes()[..]].into_iter()), Err(FlowError::Length(prefix)));
    }
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        (0..=DATAGRAM_MAX).prop_map(|length| vec![1; length])
    ];
    let frame = prop_oneof![payload.prop_map(datagram), any::<u64>().prop_map(Frame::Receipt)];
    prop::collection::vec(frame, 0..8)
}

proptest! {
    #[test]
    fn the_cuts_dont_matter(frames in frames(), size in 1_usize..5000) {
        let bytes = encoded(&frames);
        prop_assert_eq!(decoded(bytes.chunks(size)), Ok(frames));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        while let Ok(Some(frame)) = decoder.next_frame() {
            prop_assert!(frame.len_on_stream() <= bytes.len());
        }
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Bench {
    outbox: Outbox,
    woken: Arc<Woken>,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { outbox: Outbox::default(), woken: Arc::default(), now: Instant::now() }
    }

    fn push(&mut self, length: usize) -> u64 {
        self.outbox.push(&vec![0; length], self.now)
    }

    fn batch(&mut self) -> Option<Batch> {
        let waker = Waker::from(self.woken.clone());
        match self.outbox.poll_batch(&mut Context::from_waker(&waker), self.now) {
            Poll::Ready(batch) => Some(batch),
            Poll::Pending => None,
        }
    }

    fn receive(&mut self, frame: &Frame) -> Result<(), FlowError> {
        self.outbox.took(frame, self.now)
    }

    fn woken(&self) -> usize {
        self.woken.0.load(Ordering::Relaxed)
    }
}

#[test]
fn datagrams_go_together_and_who_waits_is_woken() {
    let mut bench = Bench::new();
    assert_eq!((bench.batch(), bench.woken()), (None, 0));
    assert_eq!((bench.push(4), bench.push(0)), (0, 0));
    assert_eq!(bench.woken(), 1);
    let batch = bench.batch().unwrap();
    assert_eq!((batch.bytes, batch.dropped), (encoded(&[datagram(vec![0; 4]), datagram("")]), 0));
    assert_eq!((bench.batch(), bench.outbox.queued()), (None, 0));
    bench.push(BATCH_MAX);
    bench.push(1);
    assert_eq!(bench.batch().unwrap().bytes.len(), BATCH_MAX + 2, "a long one goes alone");
    assert_eq!(bench.batch().unwrap().bytes.len(), 3);
}

#[test]
fn what_is_old_or_too_much_is_dropped_and_counted() {
    let mut bench = Bench::new();
    assert_eq!(bench.push(DATAGRAM_MAX + 1), 1);
    for _ in 0..QUEUE_DATAGRAMS {
        assert_eq!(bench.push(1), 0);
    }
    assert_eq!(bench.push(1), 1, "the oldest goes");
    bench.now += QUEUE_AGE + Duration::from_millis(1);
    let batch = bench.batch().unwrap();
    assert_eq!((batch.bytes.len(), batch.dropped), (0, QUEUE_DATAGRAMS as u64));
    let long: u64 = (0..20).map(|_| bench.push(DATAGRAM_MAX)).sum();
    assert_eq!(long, 20 - (QUEUE_BYTES / DATAGRAM_MAX) as u64);
    assert!(bench.outbox.queued() <= QUEUE_BYTES);
}

#[test]
fn sending_stops_without_receipts_and_goes_on_with_one() {
    let mut bench = Bench::new();
    let mut sent = 0;
    loop {
        bench.push(1000);
        let Some(batch) = bench.batch() else { break };
        sent += batch.bytes.len() as u64;
        assert!(sent < 1 << 20, "no bound");
    }
    assert_eq!(bench.receive(&Frame::Receipt(sent + 1)), Err(FlowError::Receipt));
    let woken = bench.woken();
    bench.receive(&Frame::Receipt(sent)).unwrap();
    assert_eq!(bench.woken(), woken + 1);
    assert_eq!(bench.batch().unwrap().bytes.len(), 1002);
}

#[test]
fn receipts_are_due_by_bytes_taken() {
    let mut bench = Bench::new();
    assert_eq!(bench.batch(), None);
    bench.receive(&datagram(vec![0; 2000])).unwrap();
    assert_eq!((bench.batch(), bench.woken()), (None, 0));
    bench.receive(&datagram(vec![0; 44])).unwrap();
    assert_eq!(bench.woken(), 1);
    assert_eq!(bench.batch().unwrap().bytes, encoded(&[Frame::Receipt(2048)]));
    assert_eq!(bench.batch(), None);
}
