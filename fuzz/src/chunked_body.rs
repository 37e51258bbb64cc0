//! Where a chunked body ends: everybody behind us must agree, or the rest of it becomes a request of its own.

use httparse::{Header, Status};
use tunnel_router::sniff::chunked::{MAX_TRAILER_BYTES, MAX_TRAILER_FIELDS};
use tunnel_router::{ChunkError, ChunkedBody, Progress};

use crate::{cut, memory};

/// Follows `data` as a body, whole and in pieces.
pub fn check(data: &[u8]) {
    let whole = follow([data].into_iter());
    assert_eq!(follow(cut::pieces(data)), whole, "the cuts matter");
    if let Ok(Some(end)) = whole {
        assert_eq!(follow([&data[..end]].into_iter()), Ok(Some(end)), "what follows the body matters");
        assert_eq!(end_for_httparse(data), Some(end), "httparse ends the body elsewhere");
    }
}

/// Where the body ends, `None` if it goes on.
fn follow<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Option<usize>, ChunkError> {
    let mut body = ChunkedBody::new();
    let mut end = 0;
    for piece in pieces {
        // A line of trailers is all that is kept, in a `Vec` that doubles.
        let progress = memory::within(3 * MAX_TRAILER_BYTES, || body.advance(piece));
        let Ok(Progress { consumed, done }) = progress else {
            let error = progress.expect_err("invariant: not the other");
            assert_eq!(body.advance(b"0\r\n\r\n"), Err(error), "a refusal is not final");
            return Err(error);
        };
        end += consumed;
        if done {
            assert_eq!(body.advance(b"0\r\n\r\n"), Ok(Progress { consumed: 0, done: true }));
            return Ok(Some(end));
        }
        assert_eq!(consumed, piece.len(), "bytes of an unfinished body were left");
    }
    Ok(None)
}

/// As hyper and others read it, with `httparse` for sizes and trailers.
fn end_for_httparse(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let Ok(Status::Complete((line, size))) = httparse::parse_chunk_size(&data[at..]) else { return None };
        at += line;
        if size == 0 {
            break;
        }
        at = at.checked_add(usize::try_from(size).ok()?)?;
        if data.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    let mut fields = [const { Header { name: "", value: &[] } }; MAX_TRAILER_FIELDS];
    match httparse::parse_headers(&data[at..], &mut fields) {
        Ok(Status::Complete((len, _))) => Some(at + len),
        _ => None,
    }
}
