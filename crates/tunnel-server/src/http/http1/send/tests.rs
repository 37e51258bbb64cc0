//! What is gathered leaves in order, however little the socket takes at once.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn all_of_it_leaves_in_order(
        pieces in proptest::collection::vec((any::<u8>(), prop_oneof![0..20_usize, SMALL - 2..SMALL + 2]), 0..12),
        steps in proptest::collection::vec(1..30_000_usize, 1..8),
    ) {
        let (mut outbox, mut pushed, mut left) = (Outbox::default(), Vec::new(), Vec::new());
        let mut steps = steps.into_iter().cycle();
        for (byte, length) in pieces {
            let piece = vec![byte; length];
            pushed.extend_from_slice(&piece);
            outbox.push(piece.into());
            take(&mut outbox, steps.next().unwrap(), &mut left);
        }
        while !outbox.is_empty() {
            take(&mut outbox, steps.next().unwrap(), &mut left);
        }
        prop_assert_eq!(left, pushed);
        prop_assert_eq!((outbox.length, outbox.tail.capacity()), (0, 0));
    }
}

/// What a socket does that takes `most` bytes at once.
fn take(outbox: &mut Outbox, most: usize, left: &mut Vec<u8>) {
    let all: Vec<u8> = outbox.pieces.iter().flatten().chain(&outbox.tail).copied().collect();
    let taken = most.min(all.len());
    left.extend_from_slice(&all[..taken]);
    outbox.advance(taken);
}
