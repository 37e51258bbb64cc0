//! Datagrams on a stream: what a UDP tunnel's flows are carried by, in both directions.
//!
//! ```text
//! a datagram   u16 length, 0 to 65,507 │ that many bytes
//! a receipt    u16 0xFFFF │ u64 total: bytes of datagram frames that the sender of this has taken so far
//! ```
//! Streams have a window and buffers of their own, which delay what they can't carry. Datagrams would rather be lost
//! than late, so each side counts what the other has not taken yet, and keeps that to what the path carries in a
//! moment ([`Outbox`]); receipts are what it counts by. All other lengths are reserved and end the flow.

mod outbox;
mod window;

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub use self::outbox::{BATCH_MAX, Batch, Outbox, QUEUE_AGE, QUEUE_BYTES, QUEUE_DATAGRAMS};

/// The longest datagram, in bytes: what fits into one of UDP over IPv4.
pub const DATAGRAM_MAX: usize = 65_507;

/// A frame's prefix: a length, or [`RECEIPT`].
const PREFIX: usize = 2;

/// The prefix of a receipt.
const RECEIPT: u16 = 0xFFFF;

/// The bytes of a receipt's total.
const TOTAL: usize = 8;

/// What travels on a flow's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A datagram, which may be empty.
    Datagram(Bytes),
    /// How many bytes of datagram frames, prefixes included, the peer has taken from the stream so far.
    Receipt(u64),
}

/// Bytes that can't be a flow's: the stream is to be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlowError {
    /// A prefix that is no datagram's length.
    #[error("a datagram of {0} bytes, where at most {DATAGRAM_MAX} are possible")]
    Length(u16),
    /// A receipt for less than the last one, or for more than was sent.
    #[error("a receipt that can't be true")]
    Receipt,
}

impl Frame {
    /// The bytes this frame takes on the stream, prefix included.
    pub fn len_on_stream(&self) -> usize {
        match self {
            Self::Datagram(payload) => PREFIX + payload.len(),
            Self::Receipt(_) => PREFIX + TOTAL,
        }
    }

    /// Appends the frame. A datagram over [`DATAGRAM_MAX`] is left out: it can't be sent by any peer either.
    pub fn encode(&self, out: &mut impl BufMut) {
        match self {
            Self::Datagram(payload) => put_datagram(payload, out),
            Self::Receipt(total) => {
                out.put_u16(RECEIPT);
                out.put_u64(*total);
            }
        }
    }
}

fn put_datagram(payload: &[u8], out: &mut impl BufMut) {
    if let Ok(length) = u16::try_from(payload.len())
        && payload.len() <= DATAGRAM_MAX
    {
        out.put_u16(length);
        out.put_slice(payload);
    }
}

/// Cuts frames out of bytes that arrive in any pieces.
///
/// Holds at most one unfinished frame plus what one push brought, and nothing between frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Takes bytes as they came from the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// [`FlowError::Length`]; the decoder can't be used after it.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FlowError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
        let prefix = u16::from_be_bytes(*prefix);
        let length = match usize::from(prefix) {
            _ if prefix == RECEIPT => TOTAL,
            length if length <= DATAGRAM_MAX => length,
            _ => return Err(FlowError::Length(prefix)),
        };
        if self.buffer.len() < PREFIX + length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        let mut body = self.buffer.split_to(length).freeze();
        if self.buffer.is_empty() {
            // An idle flow keeps no buffer.
            self.buffer = BytesMut::new();
        }
        Ok(Some(if prefix == RECEIPT { Frame::Receipt(body.get_u64()) } else { Frame::Datagram(body) }))
    }

    /// Whether nothing of an unfinished frame is held.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests;
