//! Request heads: however a head arrives the verdict is the same, and what passes has one reading.

use tunnel_router::{Framing, Head, HeadError, HeadLimits, HeadReader, Hostname, Sniff, Version, parse_head};

use crate::{cut, memory};

/// Reads `data` as a head, within the default limits and within ones that a fuzzer reaches.
pub fn check(data: &[u8]) {
    let default = HeadLimits::default();
    let _ = check_splits(data, HeadLimits { bytes: 100, fields: 3 });
    if let Sniff::Found(head) = check_splits(data, default) {
        check_head(data, &head);
        let end_only = parse_head(&data[..head.len], &default);
        assert_eq!(end_only, Sniff::Found(head), "what follows the head matters");
    }
}

/// The verdict, which must not depend on how the bytes arrive, and must be there by the limit.
fn check_splits(data: &[u8], limits: HeadLimits) -> Sniff<Head, HeadError> {
    // Names and options only: the head itself stays in the caller's buffer.
    let whole = memory::within(4096, || parse_head(data, &limits));
    let mut reader = HeadReader::new(limits);
    let mut verdicts = cut::beginnings(data).map(|beginning| reader.read(beginning));
    let in_pieces = verdicts.find(|verdict| *verdict != Sniff::NeedMore).unwrap_or(Sniff::NeedMore);
    assert_eq!(in_pieces, whole, "the cuts matter");
    assert!(data.len() < limits.bytes || whole != Sniff::NeedMore, "more is wanted than may be had");
    whole
}

/// The parser that hyper and others use takes what passed, as the same head.
fn check_head(data: &[u8], head: &Head) {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut theirs = httparse::Request::new(&mut fields);
    assert_eq!(theirs.parse(data), Ok(httparse::Status::Complete(head.len)));
    assert_eq!(theirs.method.map(str::as_bytes), Some(&data[head.method_range.clone()]));
    assert_eq!(theirs.path.map(str::as_bytes), Some(&data[head.target.clone()]));
    assert_eq!(theirs.version, Some(u8::from(head.version == Version::Http11)));

    let fields = theirs.headers.iter().map(|field| (field.name.as_bytes(), field.value));
    assert!(head.fields(data).eq(fields), "the fields are read in two ways");

    let values = |name: &str| -> Vec<&[u8]> {
        let named = theirs.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value).collect()
    };
    let [host] = values("host")[..] else { panic!("not one Host") };
    let host = Hostname::parse_authority(str::from_utf8(host).expect("a host is ASCII"));
    assert_eq!(host, Ok((head.host.clone(), head.port)));
    match (head.framing, &values("content-length")[..], &values("transfer-encoding")[..]) {
        (Framing::None, [], []) => {}
        (Framing::Length(length), [text], []) => {
            assert!(text.iter().all(u8::is_ascii_digit));
            assert_eq!(str::from_utf8(text).ok().and_then(|text| text.parse().ok()), Some(length));
        }
        (Framing::Chunked, [], [coding]) => assert!(coding.eq_ignore_ascii_case(b"chunked")),
        other => panic!("framed in two ways: {other:?}"),
    }

    check_as_uri(data, head);
    let modern = head.version == Version::Http11;
    assert!(modern || !(head.upgrade || head.expects_continue || head.framing == Framing::Chunked));
    assert!(!head.upgrade || !values("upgrade").is_empty());
    assert!(head.keep_alive || !modern || !values("connection").is_empty());
}

/// A target that names a host names the one we route by, also for hyper, which prefers it to `Host`.
fn check_as_uri(data: &[u8], head: &Head) {
    let Ok(uri) = http::Uri::try_from(&data[head.target.clone()]) else { return };
    if let Some(host) = uri.host() {
        assert_eq!(Hostname::parse(host).as_ref(), Ok(&head.host), "the target routes elsewhere");
    }
}
