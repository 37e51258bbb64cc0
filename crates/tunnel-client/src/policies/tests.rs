//! What is refused before anything is published, and what the server is told.

use super::*;

fn http() -> BindSpec {
    BindSpec::Http(tunnel_protocol::bind::HttpSpec::default())
}

#[test]
fn a_login_is_told_as_a_salted_mac_and_no_other_way() {
    let policies = Policies::new().basic_auth("ann:s3:cret").unwrap().basic_auth("bo:s3:cret").unwrap();
    assert!(!format!("{policies:?}").contains("cret"));
    let list = policies.for_tunnel(&http(), None, None);
    let [Policy::BasicAuth(first), Policy::BasicAuth(second)] = &list[..] else { panic!("{list:?}") };
    assert!(first.matches(b"ann:s3:cret") && second.matches(b"bo:s3:cret"));
    assert_ne!(first.salt, second.salt);
    for text in ["", "ann", "ann:", ":x", "a\nb:c", "ann:x\r"] {
        let error = Policies::new().basic_auth(text).unwrap_err();
        assert!(matches!(error, PolicyError::Login), "{text:?}");
    }
}

#[test]
fn networks() {
    for (text, expected) in [
        ("192.0.2.7/24", "192.0.2.0/24"),
        (" 192.0.2.7 ", "192.0.2.7/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ] {
        let list = Policies::new().allow_network(text).unwrap().for_tunnel(&http(), None, None);
        assert_eq!(list, [Policy::AllowNetwork { network: expected.into() }]);
    }
    for text in ["", "localhost", "10.0.0.0/33", "10.0.0", "::/129", "10.0.0.0-10.0.0.9"] {
        assert!(matches!(Policies::new().deny_network(text), Err(PolicyError::Network(_))), "{text}");
    }
}

#[test]
fn the_upstreams_own_name() {
    for (upstream, host, https) in [
        ("3000", "localhost:3000", false),
        ("http://app.test", "app.test", false),
        ("https://nas.lan", "nas.lan", true),
        ("https://[::1]:8443", "[::1]:8443", true),
        ("unix:/run/app.sock", "localhost", false),
        ("https://a:80", "a:80", true),
    ] {
        let policies = Policies::new().host_header("rewrite".parse().unwrap()).unwrap();
        let list = policies.for_tunnel(&http(), Some(&upstream.parse().unwrap()), None);
        assert_eq!(list, [Policy::HostHeader { host: host.into(), https }], "{upstream}");
    }
    for text in ["", "a b", "http://a", "a/b", "u@a", ":80", "a\r\nb"] {
        assert!(matches!(text.parse::<HostHeader>(), Err(PolicyError::Host(_))), "{text:?}");
        assert!(Policies::new().host_header(HostHeader::Value(text.into())).is_err(), "{text:?}");
    }
}

#[test]
fn numbers_have_bounds_and_the_last_counts() {
    let second = Duration::from_secs(1);
    assert!(Policies::new().rate_limit(0, second).is_err());
    assert!(Policies::new().rate_limit(1, Duration::ZERO).is_err());
    assert!(Policies::new().rate_limit(1, Duration::from_secs(90_000)).is_err());
    assert!(Policies::new().bandwidth(999).is_err());
    assert!(Policies::new().expire(Duration::ZERO).is_err());
    assert!(Policies::new().expire(Duration::MAX).is_err());
    let policies =
        Policies::new().rate_limit(1, second).unwrap().rate_limit(2, second).unwrap().compress().compress();
    let list = policies.for_tunnel(&http(), None, None);
    assert_eq!(list, [Policy::RateLimit { count: 2, per_ms: 1_000 }, Policy::Compress]);
}

#[test]
fn headers_are_kept_in_order_and_within_bounds() {
    let edit = |name: &str| FieldEdit::remove(name).unwrap();
    let policies = Policies::new().request_header(edit("A")).unwrap().response_header(edit("B")).unwrap();
    let list = policies.for_tunnel(&http(), None, None);
    assert_eq!(list, [Policy::RequestHeader(edit("A")), Policy::ResponseHeader(edit("B"))]);
    let smuggled = FieldEdit { name: "Host".into(), value: Some("x".into()) };
    assert!(matches!(Policies::new().request_header(smuggled), Err(PolicyError::Field(FieldError::Host))));
    let big = || FieldEdit::set("X", "y".repeat(4_000)).unwrap();
    let mut policies = Ok(Policies::new());
    for _ in 0..5 {
        policies = policies.and_then(|policies| policies.request_header(big()));
    }
    assert!(matches!(policies, Err(PolicyError::TooMany)));
}

#[test]
fn the_proxy_protocol_needs_streams_of_its_own_on_web_tunnels_only() {
    let policies = Policies::new().proxy_protocol(ProxyProtocol::V2);
    assert_eq!(policies.for_tunnel(&http(), None, None), [Policy::SeparateStreams]);
    assert_eq!(
        policies.for_tunnel(&BindSpec::Tcp(tunnel_protocol::bind::PortSpec::default()), None, None),
        []
    );
}
