//! The first bytes of a control connection, before anybody has shown a token: frames of at most
//! [`LOGIN_FRAME_MAX`] with one of three messages in them.

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};
use tunnel_protocol::limits::LOGIN_FRAME_MAX;
use tunnel_protocol::{Challenge, FrameDecoder, Hello, LoginReply, frame};

use crate::{cut, memory};

/// Most memory that reading one message may take, in multiples of the longest frame. Not 1: serde buffers a tagged
/// enum (`credential`) as a tree, in which `[` and `]` cost a `Vec` of 4 × 32 bytes.
const GROWTH: usize = 80;

/// Reads frames of each kind from `data`, however it is cut.
pub fn check(data: &[u8]) {
    check_as::<Hello>(data);
    check_as::<Challenge>(data);
    check_as::<LoginReply>(data);
    check_exact_reads(data);
}

fn check_as<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) {
    check_messages::<T>(data, LOGIN_FRAME_MAX, GROWTH);
}

/// What holds for messages of any kind in frames of at most `max` bytes: they are the same however the bytes are cut,
/// cost no more than `growth` times `max` to read, and say the same once written and read again.
pub(crate) fn check_messages<T>(data: &[u8], max: usize, growth: usize)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let whole = read_all::<T>([data].into_iter(), max, growth);
    let in_pieces = read_all::<T>(cut::pieces(data), max, growth);
    assert_eq!(whole, in_pieces, "the cuts matter");
    for message in whole.0 {
        // Longer than it came, if fields were left out that have defaults: so not held to `max`.
        let mut again = FrameDecoder::new(usize::MAX);
        again.push(&frame::encode(&message, usize::MAX).expect("what was read can be written"));
        let read = again.next_message::<T>().expect("what was written can be read");
        assert_eq!(read.as_ref(), Some(&message));
        assert!(again.is_empty());
    }
}

/// The messages, and how it ended: an error's text, or whether a frame is unfinished.
fn read_all<'a, T: DeserializeOwned>(
    pieces: impl Iterator<Item = &'a [u8]>,
    max: usize,
    growth: usize,
) -> (Vec<T>, Result<bool, String>) {
    let mut decoder = FrameDecoder::new(max);
    let mut messages = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match memory::within(growth * max, || decoder.next_message()) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Err(error.to_string())),
            }
        }
    }
    (messages, Ok(decoder.is_empty()))
}

/// Who reads just what is `missing` gets the first frame, holds no more than a frame, and leaves all that follows it.
fn check_exact_reads(data: &[u8]) {
    let mut decoder = FrameDecoder::new(LOGIN_FRAME_MAX);
    let mut rest = data;
    // The decoder doubles its buffer while it grows.
    let frame = memory::within(4 * LOGIN_FRAME_MAX, || {
        loop {
            let Ok(missing) = decoder.missing() else { return None };
            assert!((1..=LOGIN_FRAME_MAX + 4).contains(&missing));
            let (piece, after) = rest.split_at_checked(missing)?;
            rest = after;
            decoder.push(piece);
            if let Ok(Some(frame)) = decoder.next_frame() {
                return Some(frame);
            }
        }
    });
    if let Some(frame) = frame {
        assert!(decoder.is_empty());
        assert_eq!(frame, data[4..data.len() - rest.len()]);
    }
}
