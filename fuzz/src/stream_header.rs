//! The head of a visitor's stream, as a client reads it, and the client's reply, as the server reads it.

use tunnel_protocol::stream_header::HEADER_MAX;
use tunnel_protocol::{StreamHeader, StreamReply};

/// Reads `data` as a header and as a reply.
pub fn check(data: &[u8]) {
    check_header(data);
    check_reply(data);
}

fn check_header(data: &[u8]) {
    let Some((prefix, body)) = data.split_first_chunk() else { return };
    let Ok(length) = StreamHeader::decode_length(*prefix) else { return };
    assert!(length <= HEADER_MAX);
    let Some(body) = body.get(..length) else { return };
    let Ok(header) = StreamHeader::decode(body) else { return };

    let again = header.encode();
    let (prefix, known) = again.split_first_chunk().expect("a header begins with its length");
    assert_eq!(StreamHeader::decode_length(*prefix), Ok(known.len()));
    assert_eq!(StreamHeader::decode(known), Ok(header));
    // All but the flags, which are ignored, and what a newer server appended.
    assert_eq!((known[0], &known[2..]), (body[0], &body[2..known.len()]));
    for cut in 0..known.len() {
        assert!(StreamHeader::decode(&body[..cut]).is_err(), "a header cut at {cut} is taken");
    }
}

fn check_reply(data: &[u8]) {
    let Ok(Some((reply, len))) = StreamReply::decode(data) else { return };
    let again = reply.encode();
    assert_eq!(StreamReply::decode(&again), Ok(Some((reply, len))));
    assert_eq!((again.len(), again[0]), (len, data[0]));
    for cut in 0..len {
        assert_eq!(StreamReply::decode(&data[..cut]), Ok(None), "cut at {cut}");
    }
}
