//! How the values of the flags are written.

use super::*;

#[test]
fn rates() {
    let rate = |count, seconds| Rate { count, per: Duration::from_secs(seconds) };
    for (text, expected) in [("100/s", rate(100, 1)), ("60/m", rate(60, 60)), ("1 / h", rate(1, 3600))] {
        assert_eq!(Rate::read(text).unwrap(), expected, "{text}");
    }
    for text in ["", "100", "0/s", "-1/s", "1.5/s", "/s", "100/d", "100/s/s", "99999999999/s"] {
        assert!(Rate::read(text).is_err(), "{text}");
    }
}

#[test]
fn bandwidths() {
    for (text, expected) in [
        ("10MB/s", 10_000_000),
        ("10MB", 10_000_000),
        ("1.5kB/s", 1_500),
        ("512 KiB/s", 524_288),
        ("1MiB/s", 1_048_576),
        ("2GB/s", 2_000_000_000),
        ("1000B/s", 1_000),
    ] {
        assert_eq!(bandwidth(text).unwrap(), expected, "{text}");
    }
    for text in
        ["", "10", "10mb/s", "10Mbit/s", "-1MB/s", "0MB/s", "999B/s", "1.MB/s", ".5", "99999999999999GB/s"]
    {
        assert!(bandwidth(text).is_err(), "{text}");
    }
}

#[test]
fn edits() {
    let edit = |text| Edit::read(text).unwrap().0;
    assert_eq!(edit("X-Env: demo:1"), FieldEdit::set("X-Env", "demo:1").unwrap());
    assert_eq!(edit("X-Env:"), FieldEdit::set("X-Env", "").unwrap());
    assert_eq!(edit("-Server"), FieldEdit::remove("Server").unwrap());
    for text in ["", "X-Env", "-", ": x", "X Env: x", "Host: x", "-Connection", "--Server: x:"] {
        assert!(Edit::read(text).is_err(), "{text}");
    }
}
