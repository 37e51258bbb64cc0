//! Length-prefixed JSON frames: how login and control messages are cut out of a byte stream.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

/// The length prefix: a big-endian `u32`.
const PREFIX: usize = 4;

/// A frame can't be read or written. The connection it came from can't be used further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The prefix announces more than the limit that holds at this point of the connection.
    #[error("a frame of {length} bytes, where at most {max} are allowed")]
    TooLong {
        /// What the prefix says.
        length: usize,
        /// What would have been taken.
        max: usize,
    },
    /// The frame isn't the JSON message that belongs here.
    #[error("a frame that is no valid message: {0}")]
    Json(#[from] serde_json::Error),
}

/// Cuts frames out of bytes that arrive in any pieces.
///
/// Holds at most one frame plus what one push brought; a longer frame is refused at its prefix, before any of it
/// is stored.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    max: usize,
}

impl FrameDecoder {
    /// A decoder that refuses frames over `max` bytes, prefix not counted.
    pub fn new(max: usize) -> Self {
        Self { buffer: BytesMut::new(), max }
    }

    /// Takes bytes as they came from the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes still complete the frame now begun (at least 1), so that a reader can take exactly these and
    /// leave what follows the frame in the stream for the next protocol.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] as soon as the prefix is known.
    pub fn missing(&self) -> Result<usize, FrameError> {
        match self.length()? {
            None => Ok(PREFIX - self.buffer.len()),
            Some(length) => Ok((PREFIX + length).saturating_sub(self.buffer.len()).max(1)),
        }
    }

    /// The next whole frame, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// [`FrameError::TooLong`]; the decoder can't be used after it.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        match self.length()? {
            Some(length) if self.buffer.len() >= PREFIX + length => {
                self.buffer.advance(PREFIX);
                let frame = self.buffer.split_to(length).freeze();
                if self.buffer.is_empty() {
                    // An idle session keeps no buffer.
                    self.buffer = BytesMut::new();
                }
                Ok(Some(frame))
            }
            _ => Ok(None),
        }
    }

    /// The next whole message, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// [`FrameError`]; the decoder can't be used after it.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        match self.next_frame()? {
            Some(frame) => Ok(Some(serde_json::from_slice(&frame)?)),
            None => Ok(None),
        }
    }

    /// Whether nothing of an unfinished frame is held: the bytes so far end at a frame boundary.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    fn length(&self) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        if length > self.max { Err(FrameError::TooLong { length, max: self.max }) } else { Ok(Some(length)) }
    }
}

/// A message as one frame.
///
/// # Errors
/// [`FrameError::TooLong`] if it would exceed `max`, which the peer would refuse.
pub fn encode<T: Serialize>(message: &T, max: usize) -> Result<Bytes, FrameError> {
    let mut frame = BytesMut::new();
    frame.put_u32(0);
    let mut writer = frame.writer();
    serde_json::to_writer(&mut writer, message)?;
    let mut frame = writer.into_inner();
    let length = frame.len() - PREFIX;
    if length > max {
        return Err(FrameError::TooLong { length, max });
    }
    let prefix = u32::try_from(length).map_err(|_| FrameError::TooLong { length, max })?;
    frame[..PREFIX].copy_from_slice(&prefix.to_be_bytes());
    Ok(frame.freeze())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_frame_is_refused_at_its_prefix() {
        let mut decoder = FrameDecoder::new(10);
        decoder.push(&[0, 0, 0, 11]);
        assert!(matches!(decoder.missing(), Err(FrameError::TooLong { length: 11, max: 10 })));
        assert!(matches!(decoder.next_frame(), Err(FrameError::TooLong { .. })));
        let mut decoder = FrameDecoder::new(10);
        decoder.push(&[0xFF; 5]);
        assert!(decoder.next_frame().is_err(), "a length near 2³² doesn't wrap");
    }

    #[test]
    fn missing_counts_down_to_the_frame_and_never_beyond() {
        let mut decoder = FrameDecoder::new(100);
        assert_eq!(decoder.missing().unwrap(), 4);
        decoder.push(&[0, 0]);
        assert_eq!(decoder.missing().unwrap(), 2);
        decoder.push(&[0, 3]);
        assert_eq!(decoder.missing().unwrap(), 3);
        decoder.push(b"abc");
        assert_eq!(decoder.next_frame().unwrap().unwrap(), "abc");
        assert!(decoder.is_empty());
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(messages in prop::collection::vec(".{0,40}", 1..8), cut in 1usize..9) {
            let mut wire = Vec::new();
            for message in &messages {
                wire.extend_from_slice(&encode(message, 1000).unwrap());
            }
            let mut decoder = FrameDecoder::new(1000);
            let mut seen = Vec::new();
            for piece in wire.chunks(cut) {
                decoder.push(piece);
                while let Some(message) = decoder.next_message::<String>().unwrap() {
                    seen.push(message);
                }
            }
            prop_assert_eq!(seen, messages);
            prop_assert!(decoder.is_empty());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut decoder = FrameDecoder::new(32);
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_message::<serde_json::Value>() {}
        }
    }
}
