//! The twelve bytes in front of every yamux frame: version, type, flags, stream, length, all big
//! endian (the yamux specification, "Framing").

use std::fmt;

/// Length of a header, in bytes.
pub(super) const HEADER_LEN: usize = 12;
/// The longest body yamux accepts; it ends the session over a longer one.
pub(super) const MAX_BODY_LEN: usize = 1 << 20;

pub(super) const DATA: u8 = 0;
pub(super) const WINDOW_UPDATE: u8 = 1;
pub(super) const PING: u8 = 2;
pub(super) const GO_AWAY: u8 = 3;

pub(super) const SYN: u16 = 1;
pub(super) const ACK: u16 = 2;
pub(super) const FIN: u16 = 4;
pub(super) const RST: u16 = 8;

/// A decoded header. Whatever its bytes are, it encodes back to the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u8,
    pub(super) kind: u8,
    pub(super) flags: u16,
    pub(super) stream: u32,
    /// Bytes of body, of credit, a ping's number or a GoAway code, by `kind`.
    pub(super) length: u32,
}

impl Header {
    pub(super) fn decode([version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3]: [u8; HEADER_LEN]) -> Self {
        Self {
            version,
            kind,
            flags: u16::from_be_bytes([f0, f1]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        }
    }

    pub(super) fn encode(self) -> [u8; HEADER_LEN] {
        let [f0, f1] = self.flags.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [self.version, self.kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3]
    }

    pub(super) fn reset(stream: u32) -> Self {
        Self { version: 0, kind: DATA, flags: RST, stream, length: 0 }
    }

    pub(super) fn pong(number: u32) -> Self {
        Self { version: 0, kind: PING, flags: ACK, stream: 0, length: number }
    }

    pub(super) fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Whether the frame belongs to a stream.
    pub(super) fn is_of_stream(self) -> bool {
        self.version == 0 && matches!(self.kind, DATA | WINDOW_UPDATE)
    }

    /// Bytes by which the frame renews a stream's window.
    pub(super) fn credit(self) -> u32 {
        if self.version == 0 && self.kind == WINDOW_UPDATE { self.length } else { 0 }
    }

    pub(super) fn body_len(self) -> usize {
        if self.version == 0 && self.kind == DATA { self.length as usize } else { 0 }
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            DATA => f.write_str("data")?,
            WINDOW_UPDATE => f.write_str("window update")?,
            PING => f.write_str("ping")?,
            GO_AWAY => f.write_str("go away")?,
            other => write!(f, "frame of type {other}")?,
        }
        for (flag, name) in [(SYN, " SYN"), (ACK, " ACK"), (FIN, " FIN"), (RST, " RST")] {
            if self.has(flag) {
                f.write_str(name)?;
            }
        }
        write!(f, " on stream {}, length {}", self.stream, self.length)
    }
}
