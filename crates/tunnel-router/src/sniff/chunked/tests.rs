//! Where chunked bodies end, in whatever pieces they come, and what is refused.

use super::*;
use proptest::prelude::*;

/// Where the body at the start of `bytes` ends, fed at once; `None` when it goes on.
fn end(bytes: &[u8]) -> Result<Option<usize>, ChunkError> {
    let progress = ChunkedBody::new().advance(bytes)?;
    assert!(progress.done || progress.consumed == bytes.len());
    Ok(progress.done.then_some(progress.consumed))
}

fn end_in_pieces(bytes: &[u8], cuts: &[prop::sample::Index]) -> Result<Option<usize>, ChunkError> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    let (mut body, mut at) = (ChunkedBody::new(), 0);
    for end in ends {
        let progress = body.advance(&bytes[at..end])?;
        at += progress.consumed;
        if progress.done {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

#[test]
fn ends_at_the_last_byte_and_no_further() {
    for body in [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "a\r\n0123456789\r\nA\r\n0\r\n\r\n\r\n00\n\r\n0\r\n\r\n",
        "0000000000000001\r\nx\r\n0000000000000000\r\n\r\n",
        "1;a=\"b c\"\t;d\r\nx\r\n0;last\r\n\r\n",
        "0\r\nX-Checksum: 1\r\nY:\r\n\r\n",
    ] {
        let followed = format!("{body}GET / HTTP/1.1\r\n");
        assert_eq!(end(followed.as_bytes()), Ok(Some(body.len())), "{body:?}");
        assert_eq!(end(&body.as_bytes()[..body.len() - 1]), Ok(None), "{body:?}");
    }
}

#[test]
fn refuses_every_body_with_two_ends() {
    use ChunkError::*;
    for (body, error) in [
        ("\r\n", Size),
        ("\n", Size),
        ("g\r\n", Size),
        (";a\r\n", Size),
        (" 5\r\n", Size),
        ("5 \r\n", Size),
        ("5 ;a\r\n", Size),
        ("5\t\r\n", Size),
        ("+5\r\n", Size),
        ("-1\r\n", Size),
        ("0x5\r\n", Size),
        ("5\n", Size),
        ("5\0", Size),
        ("00000000000000005", Size),
        ("fffffffffffffffff", Size),
        ("5\rh", LineEnd),
        ("5;a\n", LineEnd),
        ("5;a\rb", LineEnd),
        ("5;a\0", Extension),
        ("5;\u{e9}", Extension),
        ("1\r\nxy", LineEnd),
        ("1\r\nx\n", LineEnd),
        ("1\r\nx\rx", LineEnd),
        ("1\r\nx0\r\n", LineEnd),
        ("0\r\n\n", LineEnd),
        ("0\r\n\rX", LineEnd),
        ("0\r\nX: y\n", LineEnd),
        ("0\r\nX: y\rZ: a", LineEnd),
        ("0\r\nX: \0", TrailerField),
        ("0\r\nX\r\n", TrailerField),
        ("0\r\nX : y\r\n", TrailerField),
        ("0\r\n X: y\r\n", TrailerField),
        ("0\r\nGET / HTTP/1.1\r\n", TrailerField),
        ("0\r\nHost: b.test\r\n", ForbiddenTrailer),
        ("0\r\ncontent-length: 5\r\n", ForbiddenTrailer),
        ("0\r\nTransfer_Encoding: chunked\r\n", ForbiddenTrailer),
        ("0\r\nX-Forwarded-For: 1\r\n", ForbiddenTrailer),
        ("0\r\nAuthorization: x\r\n", ForbiddenTrailer),
    ] {
        assert_eq!(end(body.as_bytes()), Err(error), "{body:?}");
    }
}

#[test]
fn refuses_at_the_limits_and_not_before() {
    let extension = |len| format!("1;{}\r\nx\r\n", "a".repeat(len));
    assert_eq!(end(extension(MAX_EXTENSION_BYTES).as_bytes()), Ok(None));
    assert_eq!(end(extension(MAX_EXTENSION_BYTES + 1).as_bytes()), Err(ChunkError::ExtensionTooLong));

    let most = MAX_EXTENSIONS_TOTAL / MAX_EXTENSION_BYTES;
    assert_eq!(end(extension(MAX_EXTENSION_BYTES).repeat(most).as_bytes()), Ok(None));
    let one_more = extension(MAX_EXTENSION_BYTES).repeat(most) + &extension(1);
    assert_eq!(end(one_more.as_bytes()), Err(ChunkError::ExtensionTooLong));

    let fields = |count: usize| format!("0\r\n{}\r\n", "X: y\r\n".repeat(count));
    assert!(end(fields(MAX_TRAILER_FIELDS).as_bytes()).unwrap().is_some());
    assert_eq!(end(fields(MAX_TRAILER_FIELDS + 1).as_bytes()), Err(ChunkError::TrailerTooLarge));

    let trailer = |bytes: usize| format!("0\r\nX:{}\r\n\r\n", "y".repeat(bytes - 6));
    assert!(end(trailer(MAX_TRAILER_BYTES).as_bytes()).unwrap().is_some());
    assert_eq!(end(trailer(MAX_TRAILER_BYTES + 1).as_bytes()), Err(ChunkError::TrailerTooLarge));
}

#[test]
fn the_largest_chunk_neither_overflows_nor_ends() {
    let mut body = ChunkedBody::new();
    assert!(!body.advance(b"ffffffffffffffff\r\n").unwrap().done);
    assert_eq!(body.advance(b"0\r\n\r\n"), Ok(Progress { consumed: 5, done: false }));
}

#[test]
fn done_and_failed_are_final() {
    let mut body = ChunkedBody::new();
    assert_eq!(body.advance(b"0\r\n\r\nX"), Ok(Progress { consumed: 5, done: true }));
    assert_eq!(body.advance(b"X"), Ok(Progress { consumed: 0, done: true }));
    let mut body = ChunkedBody::new();
    assert_eq!(body.advance(b"x"), Err(ChunkError::Size));
    assert_eq!(body.advance(b"0\r\n\r\n"), Err(ChunkError::Size));
    assert_eq!(body.advance(b""), Err(ChunkError::Size));
}

fn nasty_body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec!["5\r\nhello\r\n", "1;a\r\nx\r\n", "0\r\n", "X: y\r\n", "\r\n"]).prop_map(Vec::from),
        1 => prop::sample::select(vec!["\r", "\n", " ", ";", ":", "0", "f"]).prop_map(Vec::from),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = end(&bytes);
    }

    #[test]
    fn the_split_does_not_matter(
        bytes in nasty_body(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        prop_assert_eq!(end_in_pieces(&bytes, &cuts), end(&bytes));
    }

    /// What a well-behaved encoder writes ends where the encoder stopped, whatever the data looks like.
    #[test]
    fn finds_the_end_of_what_was_encoded(
        chunks in prop::collection::vec("[0\r\na-f]{1,40}", 0..8),
        next in prop::collection::vec(any::<u8>(), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut bytes = Vec::new();
        for chunk in &chunks {
            bytes.extend_from_slice(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes());
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        let len = bytes.len();
        bytes.extend_from_slice(&next);
        prop_assert_eq!(end_in_pieces(&bytes, &cuts), Ok(Some(len)));
    }
}
