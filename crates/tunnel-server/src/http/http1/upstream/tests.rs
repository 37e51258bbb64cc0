//! Chunks in all their pieces, and heads as they are read and written.

use proptest::prelude::*;

use super::{Reason, head};
use crate::http::http1::{
    chunks::{Chunks, Step},
    fields,
};
use bytes::Bytes;

/// The data of a whole body, how many trailers it has, and what is left behind it.
type Whole = (Vec<u8>, usize, Vec<u8>);

/// `None` if it goes on.
fn read(pieces: &[&[u8]]) -> std::io::Result<Option<Whole>> {
    let (mut chunks, mut data) = (Chunks::default(), Vec::new());
    for (index, piece) in pieces.iter().enumerate() {
        let mut piece = Bytes::copy_from_slice(piece);
        loop {
            match chunks.advance(&mut piece)? {
                Step::More => break,
                Step::Data(bytes) => data.extend_from_slice(&bytes),
                Step::End(trailers) => {
                    let rest = [piece.to_vec(), pieces[index + 1..].concat()].concat();
                    return Ok(Some((data, trailers.map_or(0, |trailers| trailers.len()), rest)));
                }
            }
        }
    }
    Ok(None)
}

const BODY: &[u8] = b"5\r\nhello\r\n1 ;a=\"b\"\r\n \r\n00A\t\r\n0123456789\r\n0\r\nX: 1\r\nY:\r\n\r\nHTTP";

#[test]
fn a_body_ends_where_it_says() {
    let (data, trailers, rest) = read(&[BODY]).unwrap().unwrap();
    assert_eq!((data.as_slice(), trailers, rest.as_slice()), (&b"hello 0123456789"[..], 2, &b"HTTP"[..]));
    assert!(read(&[&BODY[..BODY.len() - 5]]).unwrap().is_none(), "a byte is missing");
    assert_eq!(read(&[b"0\r\n\r\n"]).unwrap(), Some((vec![], 0, vec![])));
    let (data, trailers, rest) = read(&[b"2\nok\n1;a\n!\n0 \nX: 1\n\nHTTP"]).unwrap().unwrap();
    assert_eq!((data.as_slice(), trailers, rest.as_slice()), (&b"ok!"[..], 1, &b"HTTP"[..]));
}

#[test]
fn what_is_no_chunk_is_an_error() {
    let lines = "X: y\r\n".repeat(fields::MAX + 1);
    let (long, many) = (format!("0\r\nX: {}\r\n\r\n", "y".repeat(20_000)), format!("0\r\n{lines}\r\n"));
    let extension = format!("1;{}\r\n", "a".repeat(20_000));
    for bad in [
        "\r\n",
        " 1\r\n",
        "g\r\n",
        "1g\r\n",
        "1 1\r\n",
        "-1\r\n",
        "0x1\r\n",
        "\n",
        "1\rx",
        "1\r\nab",
        "1\r\na\rx",
        "11111111111111111\r\n",
        "0\r\n\rX",
        "0\r\nX: y\rZ",
        "0\r\nX\r\n\r\n",
        "0\r\n X: y\r\n\r\n",
        &long,
        &many,
        &extension,
    ] {
        assert!(read(&[bad.as_bytes()]).is_err(), "{bad:?}");
    }
}

#[test]
fn a_head_keeps_what_it_says() {
    let bytes = Bytes::from_static(b"HTTP/1.1 299 Fine By Me\r\nX-A:  1 \r\nx-a: \xff\r\nEmpty:\r\n\r\nbody");
    let (answer, length) = head::parse(&bytes).unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), &bytes[length..]), (299, &b"body"[..]));
    let values: Vec<_> = answer.headers().get_all("x-a").iter().map(|value| value.as_bytes()).collect();
    assert_eq!((values, answer.headers()["empty"].len()), (vec![&b"1"[..], b"\xff"], 0));
    assert_eq!(answer.extensions().get::<Reason>().unwrap().0.as_ref(), "Fine By Me");
    assert!(head::parse(&bytes.slice(..length - 1)).unwrap().is_none());
}

#[test]
fn a_head_is_read_as_browsers_read_it() {
    let text = "HTTP/1.1  200  OK\nFolded: a\r\n\t b\nBlank : 1\r\nno field\r\nA B: c\r\nTransfer-Encoding: identity\r\n\r\n";
    let (answer, length) = head::parse(&Bytes::from_static(text.as_bytes())).unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), length), (200, text.len()));
    let fields: Vec<_> = answer.headers().iter().map(|(name, value)| (name.as_str(), value)).collect();
    assert_eq!(fields.len(), 2, "{fields:?}");
    assert_eq!(answer.headers()["blank"], "1");
    let folded: Vec<_> = answer.headers()["folded"].to_str().unwrap().split_whitespace().collect();
    assert_eq!(folded, ["a", "b"]);
}

#[test]
fn an_answer_may_set_many_cookies() {
    let cookies = |count| "Set-Cookie: a=b\r\n".repeat(count);
    for (count, is_fine) in [(fields::MAX, true), (fields::MAX + 1, false)] {
        let head = Bytes::from(format!("HTTP/1.1 200 OK\r\n{}\r\n", cookies(count)));
        assert_eq!(head::parse(&head).is_ok(), is_fine, "{count}");
    }
}

#[test]
fn nothing_follows_an_answer_that_announces_what_it_has_not() {
    for (head, may_go_on) in [
        ("204 No Content\r\n", true),
        ("204 No Content\r\nContent-Length: 0\r\n", true),
        ("204 No Content\r\nContent-Length: 5\r\n", false),
        ("204 No Content\r\nTransfer-Encoding: chunked\r\n", false),
        ("304 Not Modified\r\nContent-Length: 5\r\n", true),
        ("200 OK\r\nContent-Length: 5\r\n", true),
    ] {
        let text = Bytes::from(format!("HTTP/1.1 {head}\r\n"));
        let (answer, _) = head::parse(&text).unwrap().unwrap();
        assert_eq!(head::may_go_on(&answer), may_go_on, "{head}");
    }
}

#[test]
fn a_request_is_written_as_it_is() {
    let request = http::Request::put("/p?q").header("Host", "a.test").header("X", "y").header("X", "z");
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let written = head::write(&parts.method, &parts.uri, &parts.headers);
    assert_eq!(&written[..], b"PUT /p?q HTTP/1.1\r\nhost: a.test\r\nx: y\r\nx: z\r\n\r\n");
}

proptest! {
    #[test]
    fn the_split_does_not_matter(cuts in prop::collection::vec(0..BODY.len(), 0..8)) {
        let mut cuts = cuts;
        cuts.extend([0, BODY.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|ends| &BODY[ends[0]..ends[1]]).collect();
        prop_assert_eq!(read(&pieces).unwrap(), read(&[BODY]).unwrap());
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&[&bytes]);
        let _ = head::parse(&Bytes::from(bytes));
    }
}
