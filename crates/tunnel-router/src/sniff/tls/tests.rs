//! ClientHellos whole, in pieces and across records, and what is refused.

use super::*;
use crate::hostname::Hostname;
use proptest::prelude::*;

/// What `openssl s_client -servername A.t.test -alpn h2,http/1.1` sends first.
const OPENSSL: &[u8] = include_bytes!("openssl_hello.bin");

fn vec16(content: &[u8]) -> Vec<u8> {
    [&u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vec16(content)].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(0, &vec16(&[&[0], &vec16(name)[..]].concat()))
}

fn message(extensions: &[u8]) -> Vec<u8> {
    let body = [&[3; 34][..], &[0], &vec16(&[0x13, 0x01]), &[1, 0], &vec16(extensions)].concat();
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[CLIENT_HELLO], &len[1..], &body].concat()
}

/// Puts a message into records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[HANDSHAKE_RECORD, 3, 1], &vec16(part)[..]].concat();
    message.chunks(size).flat_map(record).collect()
}

fn hello(extensions: &[u8]) -> Vec<u8> {
    records(&message(extensions), MAX_RECORD)
}

fn found(name: Option<&str>, alpn: &[&str]) -> Sniff<ClientHello, HelloError> {
    Sniff::Found(ClientHello {
        server_name: name.map(|name| Hostname::parse(name).unwrap()),
        alpn: alpn.iter().map(|protocol| protocol.as_bytes().into()).collect(),
    })
}

#[test]
fn reads_a_real_hello_byte_by_byte() {
    let mut reader = HelloReader::new();
    for len in 0..OPENSSL.len() {
        assert_eq!(reader.read(&OPENSSL[..len]), Sniff::NeedMore, "{len}");
    }
    assert_eq!(reader.read(OPENSSL), found(Some("a.t.test"), &["h2", "http/1.1"]));
}

#[test]
fn reads_a_large_hello_in_many_records() {
    // As large as post-quantum keys make it, with the name behind them.
    let extensions = [extension(51, &[7; 1700]), sni(b"pq.test")].concat();
    for size in [1, 2, 3, 5, 100, 1000] {
        let wire = records(&message(&extensions), size);
        assert_eq!(parse_client_hello(&wire), found(Some("pq.test"), &[]), "records of {size}");
        assert_eq!(parse_client_hello(&wire[..wire.len() - 1]), Sniff::NeedMore);
    }
}

#[test]
fn a_name_may_be_missing_or_no_name() {
    assert_eq!(parse_client_hello(&hello(b"")), found(None, &[]));
    assert_eq!(parse_client_hello(&hello(&sni(b"127.0.0.1"))), found(None, &[]));
    assert_eq!(parse_client_hello(&hello(&sni(b"::1"))), found(None, &[]));
    assert_eq!(parse_client_hello(&hello(&sni(b"A.test."))), found(Some("a.test"), &[]));
    // Before extensions there were hellos without that part.
    let mut old = message(b"");
    old.truncate(old.len() - 2);
    old[3] -= 2;
    assert_eq!(parse_client_hello(&records(&old, MAX_RECORD)), found(None, &[]));
}

#[test]
fn refuses_what_is_no_hello_as_soon_as_it_shows() {
    use HelloError::*;
    for (bytes, error) in [
        (&b"G"[..], NotTls),
        (b"SSH-2.0", NotTls),
        (b"\x15\x03\x01", NotTls),
        (b"\x16\x02", NotTls),
        (b"\x16\x03\x01\x00\x00", NotTls),
        (b"\x16\x03\x01\x40\x01", NotTls),
        (b"\x16\x03\x01\x00\x01\x02", NotClientHello),
        (b"\x16\x03\x01\x00\x04\x01\x00\x40\x01", TooLarge),
    ] {
        assert_eq!(parse_client_hello(bytes), Sniff::NotThis(error), "{}", bytes.escape_ascii());
    }
    assert_eq!(parse_client_hello(b""), Sniff::NeedMore);
    assert_eq!(parse_client_hello(b"\x16\x03"), Sniff::NeedMore);
}

#[test]
fn refuses_a_hello_with_two_readings() {
    use HelloError::*;
    let (name, alpn) = (sni(b"a.test"), extension(16, &vec16(b"\x02h2")));
    let two_names = [&[0], &vec16(b"a.test")[..], &[0], &vec16(b"b.test")].concat();
    for (what, extensions, error) in [
        ("two SNI extensions", [name.clone(), sni(b"b.test")].concat(), Malformed),
        ("two ALPN extensions", [alpn.clone(), alpn].concat(), Malformed),
        ("two names", extension(0, &vec16(&two_names)), Malformed),
        ("another type of name", extension(0, &vec16(&[&[1], &vec16(b"a.test")[..]].concat())), Malformed),
        ("empty SNI", extension(0, b""), Malformed),
        ("no names", extension(0, &vec16(b"")), Malformed),
        (
            "bytes after SNI",
            extension(0, &[&vec16(&[&[0], &vec16(b"a")[..]].concat())[..], &[0]].concat()),
            Malformed,
        ),
        ("cut extension", name[..name.len() - 1].to_vec(), Malformed),
        ("no protocols", extension(16, &vec16(b"")), Malformed),
        ("empty protocol", extension(16, &vec16(b"\0")), Malformed),
        ("protocol over the end", extension(16, &vec16(b"\x03h2")), Malformed),
        ("too many protocols", extension(16, &vec16(&b"\x01a".repeat(65))), Malformed),
        ("not UTF-8", sni(b"\xff"), Malformed),
        ("empty name", sni(b""), ServerName(HostnameError::Empty)),
        ("NUL in the name", sni(b"a.test\0.b.test"), ServerName(HostnameError::Character)),
        ("a list", sni(b"a.test,b.test"), ServerName(HostnameError::Character)),
    ] {
        assert_eq!(parse_client_hello(&hello(&extensions)), Sniff::NotThis(error), "{what}");
    }
}

#[test]
fn refuses_bytes_after_the_extensions() {
    let mut message = message(&sni(b"a.test"));
    message.push(0);
    message[3] += 1;
    let verdict = parse_client_hello(&records(&message, MAX_RECORD));
    assert_eq!(verdict, Sniff::NotThis(HelloError::Malformed));
}

#[test]
fn asks_for_no_more_than_the_limit() {
    let fits = message(&extension(21, &[0; MAX_HELLO_BYTES - 60]));
    let wire = records(&fits, MAX_RECORD);
    assert!(wire.len() <= MAX_HELLO_BYTES);
    assert_eq!(parse_client_hello(&wire), found(None, &[]));
    // The same message, in so many records that their headers don't fit.
    let wire = records(&fits, 64);
    assert_eq!(parse_client_hello(&wire[..MAX_HELLO_BYTES - 1]), Sniff::NeedMore);
    assert_eq!(parse_client_hello(&wire[..MAX_HELLO_BYTES]), Sniff::NotThis(HelloError::TooLarge));
    assert_eq!(parse_client_hello(&wire), Sniff::NotThis(HelloError::TooLarge));
}

proptest! {
    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), extensions in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = (parse_client_hello(&bytes), parse_client_hello(&hello(&extensions)));
        let _ = parse_client_hello(&records(&[&[CLIENT_HELLO, 0, 0, 40], &bytes[..]].concat(), 7));
    }

    #[test]
    fn neither_split_nor_one_wrong_byte_panics_or_matters(
        size in 1_usize..64,
        wrong in any::<prop::sample::Index>(),
        by in any::<u8>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let extensions = [sni(b"a.test"), extension(16, &vec16(b"\x02h2")), extension(51, &[7; 100])].concat();
        let mut wire = records(&message(&extensions), size);
        let at = wrong.index(wire.len());
        wire[at] ^= by;
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(wire.len());
        let mut reader = HelloReader::new();
        let mut verdicts = ends.iter().map(|end| reader.read(&wire[..*end]));
        let verdict = verdicts.find(|verdict| *verdict != Sniff::NeedMore).unwrap_or(Sniff::NeedMore);
        prop_assert_eq!(verdict, parse_client_hello(&wire));
    }
}
