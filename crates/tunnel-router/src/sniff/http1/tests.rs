//! Heads that are read and heads that are refused, with httparse as the oracle.

use super::*;
use crate::hostname::HostnameError;
use proptest::prelude::*;

fn parse(head: impl AsRef<[u8]>) -> Sniff<Head, HeadError> {
    parse_head(head.as_ref(), &HeadLimits::default())
}

/// A GET on `a.test` with more field lines.
fn with_fields(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")
}

fn found(head: impl AsRef<[u8]>) -> Head {
    let head = head.as_ref();
    match parse(head) {
        Sniff::Found(found) => found,
        other => panic!("{:?}: {other:?}", head.escape_ascii().to_string()),
    }
}

#[test]
fn refuses_every_request_line_with_two_readings() {
    use HeadError::*;
    for (line, error) in [
        ("", LeadingEmptyLine),
        ("GET", RequestLine),
        ("GET /", RequestLine),
        ("GET  / HTTP/1.1", RequestLine),
        ("GET /  HTTP/1.1", RequestLine),
        ("GET / HTTP/1.1 ", RequestLine),
        (" GET / HTTP/1.1", RequestLine),
        ("GET\t/\tHTTP/1.1", RequestLine),
        ("GET /a b HTTP/1.1", RequestLine),
        ("G(T / HTTP/1.1", RequestLine),
        ("GET / http/1.1", RequestLine),
        ("GET / HTTP/11", RequestLine),
        ("GET / HTTP/1.10", RequestLine),
        ("GET / HTTP/ 1.1", RequestLine),
        ("GET / XTTP/1.1", RequestLine),
        ("HTTP/1.1 200 OK", RequestLine),
        ("GET / HTTP/0.9", Version),
        ("GET / HTTP/1.2", Version),
        ("GET / HTTP/2.0", Version),
        ("PRI / HTTP/2.0", Version),
        ("PRI * HTTP/2.0", Http2Preface),
        ("CONNECT a.test:443 HTTP/1.1", Connect),
        ("CONNECT 127.0.0.1:22 HTTP/1.1", Connect),
        ("CONNECT / HTTP/1.0", Connect),
        ("connect a.test:443 HTTP/1.1", Target),
        ("GET * HTTP/1.1", Target),
        ("options * HTTP/1.1", Target),
        ("OPTIONS ** HTTP/1.1", Target),
        ("GET a.test HTTP/1.1", Target),
        ("GET a.test/ HTTP/1.1", Target),
        ("GET ?q HTTP/1.1", Target),
        ("GET //#a HTTP/1.1", Target),
        ("GET /\u{e9} HTTP/1.1", Target),
        ("GET /\ta HTTP/1.1", Target),
        ("GET ftp://a.test/ HTTP/1.1", Target),
        ("GET javascript:0 HTTP/1.1", Target),
        ("GET http:/a.test/ HTTP/1.1", Target),
        ("GET http:\\\\a.test/ HTTP/1.1", Target),
        ("GET http://b.test/ HTTP/1.1", HostMismatch),
        ("GET http://a.test:8080/ HTTP/1.1", HostMismatch),
        ("GET https://a.test:80/ HTTP/1.1", HostMismatch),
        ("GET http://a.test.b.test/ HTTP/1.1", HostMismatch),
        ("GET http:/// HTTP/1.1", TargetAuthority(HostnameError::Empty)),
        ("GET http://a.test\\b.test/ HTTP/1.1", TargetAuthority(HostnameError::Character)),
        ("GET http://u@a.test/ HTTP/1.1", TargetAuthority(HostnameError::Character)),
        ("GET http://a.test:/ HTTP/1.1", TargetAuthority(HostnameError::Port)),
    ] {
        let head = format!("{line}\r\nHost: a.test\r\n\r\n");
        assert_eq!(parse(&head), Sniff::NotThis(error), "{line:?}");
    }
}

#[test]
fn refuses_every_host_with_two_readings() {
    use HeadError::*;
    let long = format!("Host: {}.test", "a.".repeat(127));
    for (fields, error) in [
        ("X: y", NoHost),
        ("X-Host: a.test", NoHost),
        ("Host: a.test\r\nHost: a.test", SeveralHosts),
        ("Host: a.test\r\nHOST: b.test", SeveralHosts),
        ("Host: a.test\r\nX: y\r\nhost:", SeveralHosts),
        ("Host:", Host(HostnameError::Empty)),
        ("Host: \t ", Host(HostnameError::Empty)),
        ("Host: a.test, b.test", Host(HostnameError::Character)),
        ("Host: a.test b.test", Host(HostnameError::Character)),
        ("Host: a.test\tb", Host(HostnameError::Character)),
        ("Host: http://a.test", Host(HostnameError::Port)),
        ("Host: a.test/", Host(HostnameError::Character)),
        ("Host: u@a.test", Host(HostnameError::Character)),
        ("Host: \"a.test\"", Host(HostnameError::Character)),
        ("Host: a%2etest", Host(HostnameError::Character)),
        ("Host: b\u{fc}cher.test", Host(HostnameError::Character)),
        ("Host: a_b.test", Host(HostnameError::Character)),
        ("Host: a..test", Host(HostnameError::EmptyLabel)),
        ("Host: .a.test", Host(HostnameError::EmptyLabel)),
        ("Host: a.test:", Host(HostnameError::Port)),
        ("Host: a.test:x", Host(HostnameError::Port)),
        ("Host: a.test:65536", Host(HostnameError::Port)),
        ("Host: a.test:80:80", Host(HostnameError::Port)),
        ("Host: ::1", Host(HostnameError::Empty)),
        ("Host: [::1", Host(HostnameError::Ipv6)),
        ("Host: 127.1", Host(HostnameError::Number)),
        (&long, Host(HostnameError::TooLong)),
        ("Host : a.test", FieldName),
        (" Host: a.test", FoldedField),
    ] {
        for version in ["1.1", "1.0"] {
            let head = format!("GET / HTTP/{version}\r\n{fields}\r\n\r\n");
            assert_eq!(parse(&head), Sniff::NotThis(error), "{fields:?}");
        }
    }
    assert_eq!(parse("GET / HTTP/1.1\r\n\r\n"), Sniff::NotThis(NoHost));
    assert_eq!(parse("GET http://a.test/ HTTP/1.1\r\n\r\n"), Sniff::NotThis(NoHost));
    assert_eq!(
        parse(b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n"),
        Sniff::NotThis(Host(HostnameError::Character))
    );
}

#[test]
fn refuses_every_framing_with_two_readings() {
    use HeadError::*;
    for (fields, error) in [
        ("Content-Length:", ContentLength),
        ("Content-Length: +5", ContentLength),
        ("Content-Length: -5", ContentLength),
        ("Content-Length: 0x5", ContentLength),
        ("Content-Length: 5a", ContentLength),
        ("Content-Length: 5 5", ContentLength),
        ("Content-Length: 5, 5", ContentLength),
        ("Content-Length: 5,", ContentLength),
        ("Content-Length: 5.0", ContentLength),
        ("Content-Length: 1_000", ContentLength),
        ("Content-Length: \"5\"", ContentLength),
        ("Content-Length: \u{665}", ContentLength),
        ("Content-Length: 18446744073709551616", ContentLength),
        ("Content-Length: 5\r\nContent-Length: 5", SeveralContentLengths),
        ("Content-Length: 5\r\ncontent-length: 6", SeveralContentLengths),
        ("Content-Length: 0\r\nContent-Length: x", SeveralContentLengths),
        ("Content-Length : 5", FieldName),
        ("Transfer-Encoding:", TransferEncoding),
        ("Transfer-Encoding: identity", TransferEncoding),
        ("Transfer-Encoding: gzip, chunked", TransferEncoding),
        ("Transfer-Encoding: chunked, chunked", TransferEncoding),
        ("Transfer-Encoding: chunked,", TransferEncoding),
        ("Transfer-Encoding: ,chunked", TransferEncoding),
        ("Transfer-Encoding: chunked;q=1", TransferEncoding),
        ("Transfer-Encoding: \"chunked\"", TransferEncoding),
        ("Transfer-Encoding: xchunked", TransferEncoding),
        ("Transfer-Encoding: chun ked", TransferEncoding),
        ("Transfer-Encoding: chunKed\u{131}", TransferEncoding),
        ("Transfer-Encoding:\u{b}chunked", ControlByte),
        ("Transfer-Encoding: chunked\0", ControlByte),
        ("Transfer-Encoding : chunked", FieldName),
        ("Transfer-Encoding\u{b}: chunked", ControlByte),
        ("Transfer-Encoding:\r\n chunked", TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", SeveralTransferEncodings),
        ("Transfer-Encoding: chunked\r\ntransfer-encoding: identity", SeveralTransferEncodings),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", LengthAndChunked),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", LengthAndChunked),
        ("Transfer-Encoding: chunked\r\nContent-Length: x", LengthAndChunked),
        ("Content-Length: 0\r\nTransfer-Encoding: x", LengthAndChunked),
        ("Connection: host", ConnectionNames),
        ("Connection: close, Content-Length", ConnectionNames),
        ("Connection: close\r\nConnection: ,\tTRANSFER-ENCODING ,", ConnectionNames),
    ] {
        assert_eq!(parse(with_fields(&format!("{fields}\r\n"))), Sniff::NotThis(error), "{fields:?}");
    }
    let old = "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(parse(old), Sniff::NotThis(ChunkedOnHttp10));
}

#[test]
fn refuses_every_line_with_two_readings() {
    use HeadError::*;
    for (head, error) in [
        ("\r\nGET / HTTP/1.1\r\n", LeadingEmptyLine),
        ("\nGET / HTTP/1.1\r\n", BareLf),
        ("GET / HTTP/1.1\n", BareLf),
        ("GET / HTTP/1.1\rHost: a.test", BareCr),
        ("GET / HTTP/1.1\r\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: a.test\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: a.test\r\nX: a\nY: b", BareLf),
        ("GET / HTTP/1.1\r\nHost: a.test\r\nX: a\rY: b", BareCr),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\rX", BareCr),
        ("GET /\0", ControlByte),
        ("GET / HTTP/1.1\r\nX: a\0", ControlByte),
        ("GET / HTTP/1.1\r\nX: a\u{7f}", ControlByte),
        ("GET / HTTP/1.1\r\nX: \u{1b}[2J", ControlByte),
        ("\u{16}\u{3}\u{1}", ControlByte),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n folded\r\n", FoldedField),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\tfolded\r\n", FoldedField),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n \r\n", FoldedField),
        ("GET / HTTP/1.1\r\n X: y\r\n", FoldedField),
        ("GET / HTTP/1.1\r\nX\r\n", FieldWithoutColon),
        ("GET / HTTP/1.1\r\n: y\r\n", FieldName),
        ("GET / HTTP/1.1\r\nX : y\r\n", FieldName),
        ("GET / HTTP/1.1\r\nX\t: y\r\n", FieldName),
        ("GET / HTTP/1.1\r\nX Y: z\r\n", FieldName),
        ("GET / HTTP/1.1\r\n\u{e9}: y\r\n", FieldName),
        ("GET / HTTP/1.1\r\n(X): y\r\n", FieldName),
    ] {
        // All of them before the head's end: the visitor isn't waited for.
        assert_eq!(parse(head), Sniff::NotThis(error), "{head:?}");
    }
}

#[test]
fn reads_where_a_request_goes() {
    for (line, host, expected_host, expected_port) in [
        ("GET / HTTP/1.1", "a.test", "a.test", None),
        ("GET / HTTP/1.0", "A.Test.", "a.test", None),
        ("GET /?a=b&c=%20 HTTP/1.1", "a.test:8080", "a.test", Some(8080)),
        ("GET //b.test/ HTTP/1.1", "a.test", "a.test", None),
        ("GET /\"{}|\\^`<> HTTP/1.1", "a.test", "a.test", None),
        ("OPTIONS * HTTP/1.1", "a.test", "a.test", None),
        ("OPTIONS / HTTP/1.1", "xn--bcher-kva.test", "xn--bcher-kva.test", None),
        ("GET http://a.test/ HTTP/1.1", "a.test", "a.test", None),
        ("GET HTTP://A.test./x HTTP/1.1", "a.test:80", "a.test", Some(80)),
        ("GET https://a.test:443?q HTTP/1.1", "a.test", "a.test", None),
        ("GET http://a.test HTTP/1.1", "a.test", "a.test", None),
        ("GET / HTTP/1.1", "127.0.0.1:80", "127.0.0.1", Some(80)),
        ("GET / HTTP/1.1", "[0::1]:80", "[::1]", Some(80)),
    ] {
        let text = format!("{line}\r\nhOsT:{host} \t\r\n\r\nGET /next");
        let head = found(&text);
        assert_eq!((head.host.as_str(), head.port), (expected_host, expected_port), "{line}");
        assert_eq!(&text[head.len..], "GET /next");
        let (method, rest) = line.split_once(' ').unwrap();
        assert_eq!(&text[head.method_range], method);
        assert_eq!(&text[head.target], rest.rsplit_once(' ').unwrap().0);
    }
}

#[test]
fn reads_how_a_body_is_framed() {
    for (fields, framing) in [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("content-length:0007\r\n", Framing::Length(7)),
        // Blanks around a value are no part of it (RFC 9110 §5.5).
        ("Content-Length: \t5 \t\r\n", Framing::Length(5)),
        ("Content-Length: 18446744073709551615\r\n", Framing::Length(u64::MAX)),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("TRANSFER-ENCODING:CHUNKED\t\r\n", Framing::Chunked),
    ] {
        assert_eq!(found(with_fields(fields)).framing, framing, "{fields}");
    }
}

#[test]
fn reads_upgrade_expect_and_keep_alive() {
    let flags = |version: &str, fields: &str| {
        let head = found(format!("GET / HTTP/{version}\r\nHost: a.test\r\n{fields}\r\n"));
        assert_eq!(head.has_upgrade_field, fields.to_lowercase().contains("upgrade:"), "{fields}");
        (head.upgrade, head.expects_continue, head.keep_alive)
    };
    for (fields, modern, old) in [
        ("", (false, false, true), (false, false, false)),
        ("Connection: close\r\n", (false, false, false), (false, false, false)),
        ("Connection: keep-alive\r\n", (false, false, true), (false, false, true)),
        ("Connection: Keep-Alive\r\nConnection: x,CLOSE\r\n", (false, false, false), (false, false, false)),
        ("Upgrade: websocket\r\n", (false, false, true), (false, false, false)),
        ("Connection: upgrade\r\n", (false, false, true), (false, false, false)),
        ("Connection: a , Upgrade\r\nupgrade: websocket\r\n", (true, false, true), (false, false, false)),
        ("Connection: upgraded\r\nUpgrade: websocket\r\n", (false, false, true), (false, false, false)),
        ("Expect: 100-Continue\r\n", (false, true, true), (false, false, false)),
        ("Expect: 200-ok\r\n", (false, false, true), (false, false, false)),
    ] {
        assert_eq!(flags("1.1", fields), modern, "{fields:?} on 1.1");
        assert_eq!(flags("1.0", fields), old, "{fields:?} on 1.0");
    }
}

#[test]
fn says_where_the_fields_are() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a.test\r\nX:\t two words \r\nEmpty:\r\n\r\nnot this: one";
    let fields: [(&[u8], &[u8]); 3] = [(b"Host", b"a.test"), (b"X", b"two words"), (b"Empty", b"")];
    assert!(found(bytes).fields(bytes).eq(fields));
}

#[test]
fn lets_obs_text_and_odd_but_plain_fields_pass() {
    found(b"GET / HTTP/1.1\r\nHost: a.test\r\nX: \xff\xfe\tb\r\nEmpty:\r\n!#$%&'*+-.^_`|~9: :\r\n\r\n");
    assert_eq!(found("get / HTTP/1.1\r\nHost: a.test\r\n\r\n").method, Method::Other);
    assert!(found("PUT / HTTP/1.1\r\nHost: a.test\r\n\r\n").method.is_idempotent());
    assert!(!found("POST / HTTP/1.1\r\nHost: a.test\r\n\r\n").method.is_idempotent());
}

#[test]
fn refuses_at_the_limits_and_not_before() {
    let exact = with_fields(&format!("X: {}\r\n", "y".repeat(100)));
    let limits = |bytes, fields| HeadLimits { bytes, fields };
    let verdict = |bytes, fields| parse_head(exact.as_bytes(), &limits(bytes, fields)).verdict().unwrap();
    assert!(verdict(exact.len(), 2).is_ok());
    assert_eq!(verdict(exact.len() - 1, 2), Err(HeadError::TooLarge));
    assert_eq!(verdict(exact.len(), 1), Err(HeadError::TooManyFields));

    let long_target = format!("GET /{}", "a".repeat(HeadLimits::default().bytes));
    assert_eq!(parse(&long_target[..HeadLimits::default().bytes - 1]), Sniff::NeedMore);
    assert_eq!(parse(&long_target[..HeadLimits::default().bytes]), Sniff::NotThis(HeadError::TooLarge));
    assert_eq!(parse(with_fields(&"X: y\r\n".repeat(100))), Sniff::NotThis(HeadError::TooManyFields));
    found(with_fields(&"X: y\r\n".repeat(99)));
}

#[test]
fn a_refusal_says_what_to_answer() {
    for (error, status) in [
        (HeadError::BareLf, 400),
        (HeadError::HostMismatch, 400),
        (HeadError::Connect, 405),
        (HeadError::TooLarge, 431),
        (HeadError::TooManyFields, 431),
        (HeadError::Version, 505),
        (HeadError::Http2Preface, 505),
    ] {
        assert_eq!(error.refusal().status(), status, "{error}");
    }
}

#[test]
fn one_reader_reads_head_after_head() {
    let mut reader = HeadReader::new(HeadLimits::default());
    let buf = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\nHost: b.test\r\n\r\n";
    let Sniff::Found(first) = reader.read(buf) else { panic!("first") };
    let Sniff::Found(second) = reader.read(&buf[first.len..]) else { panic!("second") };
    assert_eq!((first.host.as_str(), second.host.as_str()), ("a.test", "b.test"));
    assert_eq!(first.len + second.len, buf.len());
}

#[test]
fn a_host_is_known_again_only_as_it_was_written() {
    let mut reader = HeadReader::new(HeadLimits::default());
    let hosts =
        ["a.test", "a.test", "A.Test:80", "b.test", "b.test:80", "a.test", "a.test.", "a,b.test", "a.test"];
    for host in hosts {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(reader.read(head.as_bytes()), parse(&head), "{host}");
    }
}

/// Pieces that make heads which nearly pass, and some that do.
fn nasty_head() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a?b HTTP/1.1\r\n",
        "GET http://a.test/ HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.0\r\n",
        "GET /\"<>\\^`{|} HTTP/1.1\r\n",
    ]);
    let field = prop_oneof![
        8 => prop::sample::select(vec![
            "Host: a.test\r\n", "host:A.test:80\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n",
            "Connection: upgrade\r\n", "Upgrade: websocket\r\n", "Expect: 100-continue\r\n", "X:\r\n", "a: \t b \r\n",
        ]).prop_map(Vec::from),
        1 => prop::sample::select(vec!["\r", "\n", "\r\n", " ", "\t", ":", "\0", "a", "Host", ","]).prop_map(Vec::from),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    let end = prop_oneof![8 => Just("\r\n"), 1 => Just("\n"), 1 => Just("")];
    let rest = prop::collection::vec(any::<u8>(), 0..8);
    (line, prop::collection::vec(field, 0..6), end, rest).prop_map(|(line, fields, end, rest)| {
        let host: &[u8] = if fields.len() % 2 == 0 { b"Host: a.test\r\n" } else { b"" };
        [line.as_bytes(), host, &fields.concat(), end.as_bytes(), &rest].concat()
    })
}

/// Feeds ever longer beginnings, ending at `cuts` and then at the end; the first verdict is the verdict.
fn read_in_pieces(bytes: &[u8], cuts: &[prop::sample::Index], limits: HeadLimits) -> Sniff<Head, HeadError> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    let mut reader = HeadReader::new(limits);
    let mut verdicts = ends.iter().map(|end| reader.read(&bytes[..*end]));
    verdicts.find(|verdict| *verdict != Sniff::NeedMore).unwrap_or(Sniff::NeedMore)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = parse(bytes);
    }

    #[test]
    fn the_split_does_not_matter(
        bytes in nasty_head(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        limit in prop_oneof![Just(32 * 1024), 1_usize..128],
    ) {
        let limits = HeadLimits { bytes: limit, fields: 4 };
        prop_assert_eq!(read_in_pieces(&bytes, &cuts, limits), parse_head(&bytes, &limits));
    }

    /// Whatever passes here, the parser behind reads as the same head, field for field.
    #[test]
    fn httparse_agrees_on_what_passes(bytes in nasty_head()) {
        let Sniff::Found(head) = parse(&bytes) else { return Ok(()) };
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut theirs = httparse::Request::new(&mut fields);
        prop_assert_eq!(theirs.parse(&bytes), Ok(httparse::Status::Complete(head.len)));
        prop_assert_eq!(theirs.method.map(str::as_bytes), Some(&bytes[head.method_range.clone()]));
        prop_assert_eq!(theirs.path.map(str::as_bytes), Some(&bytes[head.target.clone()]));
        prop_assert_eq!(theirs.version, Some(u8::from(head.version == Version::Http11)));
        let fields = theirs.headers.iter().map(|field| (field.name.as_bytes(), field.value));
        prop_assert!(head.fields(&bytes).eq(fields));
        let values = |name: &str| {
            theirs.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).collect::<Vec<_>>()
        };
        let [host] = values("host")[..] else { return Err(TestCaseError::fail("not one Host")) };
        let host = Hostname::parse_authority(str::from_utf8(host.value).unwrap());
        prop_assert_eq!(host, Ok((head.host.clone(), head.port)));
        let (lengths, codings) = (values("content-length").len(), values("transfer-encoding").len());
        let expected = match head.framing {
            Framing::None => (0, 0),
            Framing::Length(_) => (1, 0),
            Framing::Chunked => (0, 1),
        };
        prop_assert_eq!((lengths, codings), expected);
    }
}
