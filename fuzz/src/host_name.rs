//! Host names: what a visitor writes in `Host`, a client into a bind, and an operator into a pattern. One host must
//! have one spelling, and whoever else reads the text must read the same host.

use http::uri::Authority;
use tunnel_router::{HostPattern, Hostname, Label};

/// Reads `data` as a host, a host and port, a label and a pattern.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    check_host(text);
    check_authority(text);
    check_label(text);
    check_pattern(text);
}

fn check_host(text: &str) {
    let Ok(host) = Hostname::parse(text) else { return };
    let canonical = host.as_str();
    assert_eq!(Hostname::parse(canonical).as_ref(), Ok(&host), "the canonical form has another");
    assert_eq!(Hostname::parse_authority(text), Ok((host.clone(), None)));
    assert!(canonical.len() <= 253);
    assert!(canonical.bytes().all(|byte| !byte.is_ascii_uppercase() && byte.is_ascii_graphic()));
    match host.ip() {
        Some(ip) if ip.is_ipv6() => assert_eq!(canonical, format!("[{ip}]")),
        Some(ip) => assert_eq!(canonical, ip.to_string(), "an address in two spellings"),
        None => assert!(
            !canonical.contains(['[', ']', ':']) && !canonical.ends_with('.') && !is_number(canonical)
        ),
    }
    assert_eq!(HostPattern::parse(text).is_ok(), host.ip().is_none());
}

/// Whether `inet_aton` could take the name for an address, as it does `127.1` and `0x7f.1`: its last part is a number.
fn is_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    last.parse::<u128>().is_ok()
        || last.strip_prefix("0x").is_some_and(|hex| u128::from_str_radix(hex, 16).is_ok())
}

fn check_authority(text: &str) {
    let Ok((host, port)) = Hostname::parse_authority(text) else { return };
    let canonical = port.map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
    assert_eq!(Hostname::parse_authority(&canonical), Ok((host.clone(), port)));
    assert_ne!(port, Some(0));
    // What hyper makes of it behind us.
    let theirs: Authority = text.parse().expect("http takes what we take");
    assert_eq!(theirs.port_u16(), port);
    assert_eq!(Hostname::parse(theirs.host()).as_ref(), Ok(&host));
}

fn check_label(text: &str) {
    let Ok(label) = Label::parse(text) else { return };
    assert_eq!(Label::parse(label.as_str()).as_ref(), Ok(&label));
    assert!(!label.as_str().contains('.'));
    let base = Hostname::parse("tunnel.example.com").expect("invariant: a host name");
    let host = Hostname::under(&label, &base).expect("a label under a short name is a name");
    assert_eq!(host.label_under(&base), Some(label));
    assert!(
        HostPattern::Wildcard(base.clone()).matches(&host)
            && !HostPattern::Wildcard(base.clone()).matches(&base)
    );
}

fn check_pattern(text: &str) {
    let Ok(pattern) = HostPattern::parse(text) else { return };
    assert_eq!(pattern.to_string().parse().as_ref(), Ok(&pattern));
    match &pattern {
        HostPattern::Exact(name) => assert!(pattern.matches(name)),
        HostPattern::Wildcard(base) => {
            assert!(!pattern.matches(base), "a wildcard matches its own base");
            let label = Label::parse("a").expect("invariant: a label");
            if let Ok(below) = Hostname::under(&label, base) {
                assert!(pattern.matches(&below));
            }
        }
    }
}
