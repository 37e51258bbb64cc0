//! Which texts are host names, and which canonical name each one is.

use super::*;
use proptest::prelude::*;

#[test]
fn one_spelling_for_one_host() {
    let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    for (text, canonical) in [
        ("a.t.test", "a.t.test"),
        ("A.T.TEST", "a.t.test"),
        ("a.t.test.", "a.t.test"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("r3---sn.test", "r3---sn.test"),
        ("1.2.3.4.test", "1.2.3.4.test"),
        ("0x.0xg", "0x.0xg"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[0:0:0:0:0:0:0:1]", "[::1]"),
        ("[2001:DB8::A]", "[2001:db8::a]"),
        (longest.as_str(), longest.as_str()),
    ] {
        assert_eq!(Hostname::parse(text).as_ref().map(Hostname::as_str), Ok(canonical), "{text}");
    }
}

#[test]
fn refuses_what_is_not_exactly_one_host() {
    use HostnameError::*;
    let (name, label) = ("a.".repeat(127) + "a", "a".repeat(64));
    for (text, error) in [
        ("", Empty),
        (".", Empty),
        ("..", EmptyLabel),
        (".a", EmptyLabel),
        ("a..b", EmptyLabel),
        ("a..", EmptyLabel),
        (name.as_str(), TooLong),
        (label.as_str(), LabelTooLong),
        ("-a.test", Hyphen),
        ("a-.test", Hyphen),
        ("a_b.test", Character),
        ("_dmarc.test", Character),
        ("a.test,b.test", Character),
        ("a.test b.test", Character),
        (" a.test", Character),
        ("a.test\t", Character),
        ("a@b.test", Character),
        ("a.test:80", Character),
        ("a.test/", Character),
        ("a%2etest", Character),
        ("a\0.test", Character),
        ("\u{430}.test", Character),
        ("a\u{3002}test", Character),
        ("::1", Character),
        ("127.1", Number),
        ("2130706433", Number),
        ("0x7f.1", Number),
        ("a.0x1f", Number),
        ("127.0.0.0x", Number),
        ("1.2.3.256", Number),
        ("127.0.0.01", Number),
        ("1.2.3.4.5", Number),
        ("a.test.1", Number),
        ("[]", Ipv6),
        ("[::1", Ipv6),
        ("[::1].", Ipv6),
        ("[fe80::1%eth0]", Ipv6),
        ("[v1.a]", Ipv6),
        ("[127.0.0.1]", Ipv6),
    ] {
        assert_eq!(Hostname::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn reads_an_authority() {
    for (text, host, port) in [
        ("a.test", "a.test", None),
        ("A.test:80", "a.test", Some(80)),
        ("a.test.:00443", "a.test", Some(443)),
        ("a.test:65535", "a.test", Some(65535)),
        ("127.0.0.1:8080", "127.0.0.1", Some(8080)),
        ("[::1]", "[::1]", None),
        ("[::1]:8080", "[::1]", Some(8080)),
    ] {
        let (found, found_port) = Hostname::parse_authority(text).unwrap();
        assert_eq!((found.as_str(), found_port), (host, port), "{text}");
    }
}

#[test]
fn refuses_an_ambiguous_authority() {
    use HostnameError::*;
    for (text, error) in [
        ("", Empty),
        (":80", Empty),
        ("a.test:", Port),
        ("a.test:0", Port),
        ("a.test:65536", Port),
        ("a.test:000080", Port),
        ("a.test:+80", Port),
        ("a.test:-1", Port),
        ("a.test: 80", Port),
        ("a.test:80 ", Port),
        ("a.test:80:80", Port),
        ("a.test:0x50", Port),
        ("user@a.test", Character),
        ("user:80@a.test", Port),
        ("a.test, b.test", Character),
        ("[::1]80", Character),
        ("[::1]a.test", Character),
        ("[::1", Ipv6),
        ("a]:80", Character),
        ("::1", Empty),
    ] {
        assert_eq!(Hostname::parse_authority(text), Err(error), "{text:?}");
    }
}

#[test]
fn tells_addresses_from_names() {
    for (text, is_ip) in [("127.0.0.1", true), ("[::1]", true), ("a.test", false), ("1.2.3.4.test", false)] {
        assert_eq!(Hostname::parse(text).unwrap().ip().is_some(), is_ip, "{text}");
    }
}

#[test]
fn finds_the_one_label_under_a_base() {
    let base = Hostname::parse("t.test").unwrap();
    for (text, label) in [
        ("a.t.test", Some("a")),
        ("A.T.Test.", Some("a")),
        ("t.test", None),
        ("a.b.t.test", None),
        ("at.test", None),
        ("xn--a.t.test", None),
        ("a.t.test.evil", None),
        ("test", None),
    ] {
        let found = Hostname::parse(text).unwrap().label_under(&base);
        assert_eq!(found.as_ref().map(Label::as_str), label, "{text}");
    }
    let label = Label::parse("a").unwrap();
    let full = Hostname::under(&label, &base).unwrap();
    assert_eq!(full.label_under(&base), Some(label));
}

proptest! {
    #[test]
    fn never_panics(text in any::<String>()) {
        let _ = (Hostname::parse(&text), Hostname::parse_authority(&text), Label::parse(&text));
    }

    #[test]
    fn canonical_form_is_its_own_canonical_form(text in "[a-cA-C0-9.:x\\[\\]-]{1,24}") {
        if let Ok(host) = Hostname::parse(&text) {
            prop_assert_eq!(Hostname::parse(host.as_str()), Ok(host.clone()));
            prop_assert_eq!(Hostname::parse_authority(&text), Ok((host.clone(), None)));
            prop_assert_eq!(Hostname::parse(&text.to_ascii_uppercase()), Ok(host));
        }
    }
}
