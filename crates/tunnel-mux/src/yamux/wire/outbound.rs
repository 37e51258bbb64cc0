//! The frames going out, as yamux writes them. Two of its frames mean more to us than to it: an
//! empty data frame is one of our shutdowns, and a stream's FIN or RST is yamux letting go of it.

use super::buffer::Buffer;
use super::header::{DATA, FIN, GO_AWAY, HEADER_LEN, Header, RST, SYN};
use super::mark::Marks;

/// The state of writing.
#[derive(Default)]
pub(super) struct Outbound {
    /// Bytes of the current frame's body yet to come.
    body: usize,
    /// Set once yamux accuses the peer: what it sends, and about which frame.
    pub(super) accusation: Option<String>,
}

impl Outbound {
    pub(super) fn is_between_frames(&self) -> bool {
        self.body == 0
    }

    /// Looks at a frame that may yet have to wait for room. yamux has read nothing since `latest`.
    pub(super) fn note_accusation(&mut self, header: [u8; HEADER_LEN], latest: Option<Header>) {
        let header = Header::decode(header);
        if header.kind == GO_AWAY && header.length != 0 && self.accusation.is_none() {
            let about = latest.map_or_else(|| "nothing read".to_owned(), |latest| latest.to_string());
            self.accusation = Some(format!("refused with GoAway code {}: {about}", header.length));
        }
    }

    /// Begins a frame. `buffer` must have room for the header.
    pub(super) fn begin(&mut self, header: [u8; HEADER_LEN], marks: &mut Marks, buffer: &mut Buffer) {
        let header = Header::decode(header);
        self.body = header.body_len();
        if let Some(header) = rewrite(header, marks) {
            buffer.put(&header.encode());
        }
    }

    /// Takes what it can of the current frame's body; how much that was.
    pub(super) fn body(&mut self, bytes: &[u8], buffer: &mut Buffer) -> usize {
        let taken = buffer.put(&bytes[..bytes.len().min(self.body)]);
        self.body -= taken;
        taken
    }

    /// Moves replies into `buffer` as far as they fit, if no frame is under way.
    pub(super) fn queue_replies(&self, replies: &mut Vec<u8>, buffer: &mut Buffer) {
        if replies.is_empty() || !self.is_between_frames() {
            return;
        }
        let fits = buffer.room().min(replies.len()) / HEADER_LEN * HEADER_LEN;
        buffer.put(&replies[..fits]);
        replies.drain(..fits);
        if replies.is_empty() {
            replies.shrink_to(0);
        }
    }
}

/// The header as the peer shall see it, if at all.
fn rewrite(header: Header, marks: &mut Marks) -> Option<Header> {
    let is_empty_data = header.kind == DATA && header.length == 0;
    if !header.is_of_stream() || (header.flags == 0 && !is_empty_data) {
        return Some(header);
    }
    if is_empty_data && (header.has(FIN) || header.has(RST)) {
        // We never close a stream by yamux's own means, so this is always its farewell to a
        // dropped one. It says FIN if the peer is done, which would make an abort look complete.
        let mark = marks.remove(header.stream)?;
        return mark.needs_reset().then(|| Header::reset(header.stream));
    }
    let Some(mark) = marks.get(header.stream) else { return Some(header) };
    if header.has(SYN) {
        mark.set_announced();
    }
    if is_empty_data {
        mark.set_finished();
        return Some(Header { flags: header.flags | FIN, ..header });
    }
    Some(header)
}
