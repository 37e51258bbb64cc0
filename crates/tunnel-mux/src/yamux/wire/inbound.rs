//! The frames coming in, as yamux reads them: which bytes it gets to see, and what they say.

use std::sync::Arc;

use super::header::{ACK, FIN, GO_AWAY, HEADER_LEN, Header, MAX_BODY_LEN, PING, RST, SYN, WINDOW_UPDATE};
use super::mark::{Mark, Marks};

/// Answers that may wait for the socket, in bytes. Well-behaved peers ask for a handful.
const MAX_REPLIES: usize = 16 << 10;

/// The state of reading, and what the frames so far said.
#[derive(Default)]
pub(super) struct Inbound {
    step: Step,
    bytes: [u8; HEADER_LEN],
    /// Bytes of body after the current header.
    body: usize,
    /// yamux never sees that body.
    skip: bool,
    /// The stream that ends with the current frame.
    ends: Option<Arc<Mark>>,
    /// The latest frame that opened a stream.
    opening: Option<Header>,
    /// Resets of shed streams, to send to the peer; one for each stream at most.
    pub(super) resets: Vec<u8>,
    /// Whole frames to send to the peer.
    pub(super) replies: Vec<u8>,
    /// More replies than may wait.
    pub(super) flooded: bool,
    /// The code the peer ended the lane with.
    pub(super) goaway: Option<u32>,
    /// The latest frame yamux saw.
    pub(super) latest: Option<Header>,
    /// Credit that came with the latest header, until it is taken.
    credit: u32,
}

/// `usize`: how far it is.
enum Step {
    Header(usize),
    Serve(usize),
    Body(usize),
}

impl Default for Step {
    fn default() -> Self {
        Self::Header(0)
    }
}

/// What the reader is to do.
pub(super) enum Next<'a> {
    /// Read more of a header into this, then call [`Inbound::fed`].
    Header(&'a mut [u8]),
    /// Give yamux from this, then call [`Inbound::served`].
    Serve(&'a [u8]),
    /// Give yamux up to so many bytes of body, then call [`Inbound::passed`].
    Body(usize),
    /// Discard up to so many bytes of body, then call [`Inbound::passed`].
    Skip(usize),
}

impl Inbound {
    pub(super) fn next(&mut self) -> Next<'_> {
        match self.step {
            Step::Header(got) => Next::Header(&mut self.bytes[got..]),
            Step::Serve(at) => Next::Serve(&self.bytes[at..]),
            Step::Body(passed) if self.skip => Next::Skip(self.body - passed),
            Step::Body(passed) => Next::Body(self.body - passed),
        }
    }

    pub(super) fn is_between_frames(&self) -> bool {
        matches!(self.step, Step::Header(0))
    }

    pub(super) fn fed(&mut self, n: usize, marks: &Marks) {
        let Step::Header(got) = &mut self.step else { return };
        *got += n;
        if *got == HEADER_LEN {
            let header = Header::decode(self.bytes);
            self.credit = header.credit();
            self.judge(header, marks);
        }
    }

    /// Credit that came with the latest header, once.
    pub(super) fn take_credit(&mut self) -> u32 {
        std::mem::take(&mut self.credit)
    }

    pub(super) fn served(&mut self, n: usize) {
        let Step::Serve(at) = &mut self.step else { return };
        *at += n;
        if *at == HEADER_LEN {
            self.enter_body();
        }
    }

    pub(super) fn passed(&mut self, n: usize) {
        let Step::Body(passed) = &mut self.step else { return };
        *passed += n;
        if *passed == self.body {
            self.end_frame();
        }
    }

    /// The frame by which the peer opened `id`.
    pub(super) fn take_opening(&mut self, id: u32) -> Option<Header> {
        self.opening.take().filter(|opening| opening.stream == id)
    }

    /// The stream whose body is only partly here.
    pub(super) fn under_way(&self) -> Option<u32> {
        let of_stream = self.latest.filter(|latest| latest.is_of_stream() && !self.is_between_frames());
        of_stream.map(|latest| latest.stream)
    }

    /// Has the peer told that a stream was shed.
    pub(super) fn reset(&mut self, id: u32) {
        tracing::debug!(stream.id = id, "receive budget used up: unread stream reset");
        self.resets.extend_from_slice(&Header::reset(id).encode());
    }

    fn judge(&mut self, header: Header, marks: &Marks) {
        self.body = header.body_len();
        self.skip = false;
        if header.body_len() > MAX_BODY_LEN {
            // For yamux to refuse.
            return self.serve(header);
        }
        if header.is_of_stream() {
            self.judge_stream(header, marks);
        } else if header.version == 0 && header.kind == PING && !header.has(ACK) {
            // yamux stops reading until its answer is written. Two ends that are both blocked
            // writing would wait for each other for ever, so yamux never sees the question.
            self.reply(Header::pong(header.length));
            self.enter_body();
        } else {
            if header.version == 0 && header.kind == GO_AWAY {
                self.goaway = Some(header.length);
            }
            self.serve(header);
        }
    }

    fn judge_stream(&mut self, header: Header, marks: &Marks) {
        let known = marks.get(header.stream);
        if header.has(RST) {
            let Some(mark) = known else { return self.serve(header) };
            mark.set_peer_reset();
            // To yamux a reset is an end, so that it keeps the stream until we drop it, and says
            // so with a frame. As a window update it wakes the writer as well as the reader.
            self.skip = true;
            let flags = FIN | (header.flags & ACK);
            return self.serve(Header { kind: WINDOW_UPDATE, flags, length: 0, ..header });
        }
        if header.has(SYN) && known.is_none() {
            if marks.are_too_many() {
                // yamux would end the session; this refuses the one stream.
                self.reply(Header::reset(header.stream));
                self.skip = true;
                return self.enter_body();
            }
            self.opening = Some(header);
            return self.serve(header);
        }
        if header.has(FIN) && !header.has(SYN) {
            self.ends = known.cloned();
        }
        if self.body > 0
            && let Some(mark) = known
            && !self.admit(mark, header)
        {
            // To yamux the peer has ended its side: that wakes the reader, and it wants no more.
            self.skip = true;
            let flags = FIN | (header.flags & ACK);
            return self.serve(Header { kind: WINDOW_UPDATE, flags, length: 0, ..header });
        }
        self.serve(header);
    }

    /// Whether yamux shall see a frame's body; it is counted then.
    fn admit(&mut self, mark: &Mark, header: Header) -> bool {
        if mark.wants_no_more() {
            return false;
        }
        if !mark.unread().admits(self.body) {
            mark.shed();
            self.reset(header.stream);
            return false;
        }
        mark.unread().came(self.body);
        true
    }

    fn serve(&mut self, header: Header) {
        self.latest = Some(header);
        self.bytes = header.encode();
        self.step = Step::Serve(0);
    }

    fn enter_body(&mut self) {
        self.step = Step::Body(0);
        if self.body == 0 {
            self.end_frame();
        }
    }

    fn end_frame(&mut self) {
        self.step = Step::Header(0);
        // Not with the header: a lane lost within the body must not read as an end.
        if let Some(mark) = self.ends.take() {
            mark.set_peer_finished();
        }
    }

    fn reply(&mut self, header: Header) {
        if self.replies.len() + HEADER_LEN > MAX_REPLIES {
            self.flooded = true;
        } else {
            self.replies.extend_from_slice(&header.encode());
        }
    }
}
