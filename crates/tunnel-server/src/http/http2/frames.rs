//! Frame headers in passing (RFC 9113 §4.1), without the frames.

/// `PRI * HTTP/2.0` and what follows it (RFC 9113 §3.4).
pub(in crate::http) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a frame's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) length: usize,
    pub(super) flags: u8,
}

/// The types of frames (RFC 9113 §6), as far as they differ for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Reset,
    Settings,
    Ping,
    Continuation,
    Other,
}

impl Frame {
    fn read(header: [u8; 9]) -> Self {
        let kind = match header[3] {
            0 => Kind::Data,
            1 => Kind::Headers,
            3 => Kind::Reset,
            4 => Kind::Settings,
            6 => Kind::Ping,
            9 => Kind::Continuation,
            _ => Kind::Other,
        };
        let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        Self { kind, length, flags: header[4] }
    }

    /// Whether it is the last of its stream, or answers one of ours.
    pub(super) fn has_first_flag(self) -> bool {
        self.flags & 0x1 != 0
    }

    /// Whether it ends a head.
    fn ends_head(self) -> bool {
        self.flags & 0x4 != 0
    }
}

/// Follows the frames of one way of a connection.
#[derive(Debug)]
pub(super) struct Follower {
    preface: usize,
    header: [u8; 9],
    filled: usize,
    /// What is left of the frame begun last.
    left: usize,
    /// Between the start of a head and its end.
    in_head: bool,
    /// The frame begun last ends a head.
    ends_head: bool,
}

impl Follower {
    /// Of the side that says the preface first.
    pub(super) fn of_visitor() -> Self {
        Self { preface: PREFACE.len(), ..Self::of_server() }
    }

    pub(super) fn of_server() -> Self {
        Self { preface: 0, header: [0; 9], filled: 0, left: 0, in_head: false, ends_head: false }
    }

    /// Whether something has begun that the other side can't act on before its end: the preface, a frame's header,
    /// or a head of several frames.
    pub(super) fn is_in_head(&self) -> bool {
        self.preface > 0 || self.filled > 0 || self.in_head
    }

    /// Goes on over the next bytes.
    pub(super) fn advance<E>(
        &mut self,
        mut bytes: &[u8],
        mut seen: impl FnMut(Frame) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.preface > 0 {
                bytes = &bytes[take(&mut self.preface, bytes)..];
            } else if self.left > 0 {
                bytes = &bytes[take(&mut self.left, bytes)..];
                self.end_frame();
            } else {
                let length = bytes.len().min(9 - self.filled);
                self.header[self.filled..self.filled + length].copy_from_slice(&bytes[..length]);
                self.filled += length;
                bytes = &bytes[length..];
                if self.filled == 9 {
                    self.filled = 0;
                    let frame = Frame::read(self.header);
                    self.left = frame.length;
                    if matches!(frame.kind, Kind::Headers | Kind::Continuation) {
                        self.in_head = true;
                        self.ends_head = frame.ends_head();
                    }
                    seen(frame)?;
                    self.end_frame();
                }
            }
        }
        Ok(())
    }

    fn end_frame(&mut self) {
        if self.left == 0 && self.ends_head {
            (self.in_head, self.ends_head) = (false, false);
        }
    }
}

fn take(left: &mut usize, bytes: &[u8]) -> usize {
    let taken = bytes.len().min(*left);
    *left -= taken;
    taken
}
