//! Headers as the specification has them, those that are none, and both halves against each other.

use proptest::prelude::*;

use super::{ProxyError::*, ProxyHeader::*, *};

fn forwarded(source: &str, destination: &str) -> ProxyHeader {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    Forwarded(ProxyAddresses { source, destination })
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [V2_SIGNATURE.as_slice(), &[command, family], &length, body].concat()
}

#[test]
fn lines_as_the_specification_has_them() {
    for (line, expected) in [
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            forwarded("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        ("PROXY TCP4 192.0.2.1 198.51.100.7 0 443\r\n", forwarded("192.0.2.1:0", "198.51.100.7:443")),
        ("PROXY TCP6 2001:db8::1 ::1 4000 443\r\n", forwarded("[2001:db8::1]:4000", "[::1]:443")),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", forwarded("[::ffff:192.0.2.1]:1", "[::1]:2")),
        ("PROXY UNKNOWN\r\n", Own),
        (
            "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            Own,
        ),
    ] {
        assert_eq!(read(line.as_bytes()), Ok(Some((expected, line.len()))), "{line}");
        let with_more = [line.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(read(&with_more), Ok(Some((expected, line.len()))), "{line}");
        for cut in 0..line.len() {
            assert_eq!(read(&line.as_bytes()[..cut]), Ok(None), "{line} cut at {cut}");
        }
    }
}

#[test]
fn lines_that_are_none() {
    for (line, expected) in [
        ("GET / HTTP/1.1\r\n", NotProxy),
        ("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", NotProxy),
        ("PROXYTCP4", NotProxy),
        ("PROXY\r\n", NotProxy),
        ("PROXY \r\n", Malformed),
        ("PROXY TCP4\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", Malformed),
        ("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1\t192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", Malformed),
        ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", Malformed),
        ("PROXY TCP6 [::1] [::1] 1 2\r\n", Malformed),
        ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY unknown\r\n", Malformed),
        ("PROXY UNKNOWNS\r\n", Malformed),
    ] {
        assert_eq!(read(line.as_bytes()), Err(expected), "{line:?}");
    }
    let endless = ["PROXY UNKNOWN ", &"x".repeat(200)].concat();
    assert_eq!(read(&endless.as_bytes()[..V1_MAX - 1]), Ok(None));
    assert_eq!(read(&endless.as_bytes()[..V1_MAX]), Err(TooLong));
    let just = ["PROXY UNKNOWN ", &"x".repeat(V1_MAX - 16), "\r\n"].concat();
    assert_eq!(read(just.as_bytes()), Ok(Some((Own, V1_MAX))));
    let one_more = ["PROXY UNKNOWN ", &"x".repeat(V1_MAX - 15), "\r\n"].concat();
    assert_eq!(read(one_more.as_bytes()), Err(TooLong));
}

#[test]
fn blocks_as_the_specification_has_them() {
    let v4 = [192, 0, 2, 1, 198, 51, 100, 7, 0x0F, 0xA0, 1, 187];
    let tlv = [0x04, 0, 3, b'a', b'b', b'c'];
    let v6 =
        [&[0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 15], &[1, 0, 1, 0, 2]].concat();
    for (block, expected) in [
        (v2(0x21, 0x11, &v4), forwarded("192.0.2.1:4000", "198.51.100.7:443")),
        (v2(0x21, 0x11, &[&v4[..], &tlv].concat()), forwarded("192.0.2.1:4000", "198.51.100.7:443")),
        (v2(0x21, 0x21, &v6), forwarded("[2001:db8::1]:1", "[::1]:2")),
        (v2(0x20, 0x00, b""), Own),
        (v2(0x20, 0x11, &v4), Own),
        (v2(0x20, 0xFF, b"anything"), Own),
        (v2(0x21, 0x00, b"anything"), Own),
        (v2(0x21, 0x12, &v4), Own),
        (v2(0x21, 0x31, &[0; 216]), Own),
    ] {
        assert_eq!(read(&block), Ok(Some((expected, block.len()))), "{block:?}");
        let with_more = [&block[..], b"\x16\x03\x01"].concat();
        assert_eq!(read(&with_more), Ok(Some((expected, block.len()))));
        for cut in 0..block.len() {
            assert_eq!(read(&block[..cut]), Ok(None), "{block:?} cut at {cut}");
        }
    }
}

#[test]
fn blocks_that_are_none() {
    let mut other_signature = v2(0x20, 0, b"");
    other_signature[11] = b'\r';
    for (block, expected) in [
        (other_signature, NotProxy),
        (v2(0x11, 0x11, &[0; 12]), Unknown),
        (v2(0x22, 0x11, &[0; 12]), Unknown),
        (v2(0x21, 0x11, &[0; 11]), Malformed),
        (v2(0x21, 0x21, &[0; 35]), Malformed),
        (v2(0x21, 0x31, &[0; 215]), Malformed),
        (v2(0x21, 0x13, &[0; 36]), Malformed),
        (v2(0x21, 0x41, &[0; 36]), Malformed),
        (v2(0x21, 0x11, &[0; V2_MAX - V2_FIXED + 1]), TooLong),
        (v2(0x20, 0x00, &[0; V2_MAX - V2_FIXED + 1]), TooLong),
    ] {
        assert_eq!(read(&block), Err(expected), "{block:?}");
    }
    assert!(matches!(read(&v2(0x21, 0x11, &[0; V2_MAX - V2_FIXED])), Ok(Some((_, V2_MAX)))));
    assert_eq!(read(b"\r\n\r\nG"), Err(NotProxy), "said at the first byte that can't be");
}

#[test]
fn golden() {
    let (source, destination) = ("192.0.2.1:4000".parse().ok(), "198.51.100.7:443".parse().ok());
    assert_eq!(
        write(ProxyVersion::V1, source, destination),
        "PROXY TCP4 192.0.2.1 198.51.100.7 4000 443\r\n"
    );
    assert_eq!(write(ProxyVersion::V1, source, None), "PROXY UNKNOWN\r\n");
    let hex = |version, source| data_encoding::HEXLOWER.encode(&write(version, source, destination));
    assert_eq!(hex(ProxyVersion::V2, source), "0d0a0d0a000d0a515549540a2111000cc0000201c63364070fa001bb");
    assert_eq!(hex(ProxyVersion::V2, None), "0d0a0d0a000d0a515549540a20000000");
}

#[test]
fn two_families_become_the_larger() {
    let source = "192.0.2.1:1".parse().ok();
    let destination = "[2001:db8::1]:2".parse().ok();
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let header = write(version, source, destination);
        let expected = forwarded("[::ffff:192.0.2.1]:1", "[2001:db8::1]:2");
        assert_eq!(read(&header), Ok(Some((expected, header.len()))));
    }
}

/// Addresses of one family, as the protocol has them: without the scope and flow that `SocketAddrV6` has room for.
fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = any::<([u8; 4], u16, [u8; 4], u16)>().prop_map(|(a, p, b, q)| ((a, p).into(), (b, q).into()));
    let v6 = any::<([u8; 16], u16, [u8; 16], u16)>().prop_map(|(a, p, b, q)| ((a, p).into(), (b, q).into()));
    prop_oneof![v4, v6]
}

proptest! {
    #[test]
    fn what_is_written_is_read((source, destination) in addresses(), more: Vec<u8>) {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let header = write(version, Some(source), Some(destination));
            let expected = Forwarded(ProxyAddresses { source, destination });
            let bytes = [&header[..], &more].concat();
            prop_assert_eq!(read(&bytes), Ok(Some((expected, header.len()))));
            for cut in 0..header.len() {
                prop_assert_eq!(read(&header[..cut]), Ok(None));
            }
        }
    }

    #[test]
    fn a_verdict_stays(start in prop_oneof![Just(&b""[..]), Just(V1_START), Just(&V2_SIGNATURE[..])], rest: Vec<u8>) {
        let bytes = [start, &rest].concat();
        let whole = read(&bytes);
        for cut in 0..bytes.len() {
            let part = read(&bytes[..cut]);
            prop_assert!(part == Ok(None) || part == whole, "{part:?} at {cut}, then {whole:?}");
        }
        prop_assert!(bytes.len() < V2_MAX || whole != Ok(None));
    }
}
