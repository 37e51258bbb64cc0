//! Which lists are refused, and in which words.

use tunnel_protocol::{
    bind::{HttpSpec, PortSpec},
    policy::{BasicLogin, FieldEdit},
};

use super::*;

fn http() -> BindSpec {
    BindSpec::Http(HttpSpec::default())
}

fn tcp() -> BindSpec {
    BindSpec::Tcp(PortSpec::default())
}

fn udp() -> BindSpec {
    BindSpec::Udp(PortSpec::default())
}

fn login() -> Policy {
    Policy::BasicAuth(BasicLogin::new("a:b", [1; 16]))
}

fn host(host: &str) -> Policy {
    Policy::HostHeader { host: host.into(), https: false }
}

fn edit(name: &str) -> FieldEdit {
    FieldEdit { name: name.into(), value: None }
}

#[test]
fn what_makes_sense_is_taken() {
    let all = vec![
        login(),
        login(),
        Policy::AllowNetwork { network: "192.0.2.0/24".into() },
        Policy::DenyNetwork { network: "2001:db8::1".into() },
        host("localhost:3000"),
        Policy::RequestHeader(edit("x-a")),
        Policy::ResponseHeader(edit("server")),
        Policy::RateLimit { count: 1, per_ms: 1 },
        Policy::Bandwidth { bytes: 1_000 },
        Policy::Compress,
        Policy::SeparateStreams,
        Policy::Expire { left_ms: 1 },
    ];
    assert!(Policies::compile(all, &http()).is_ok());
    let common = || {
        vec![
            Policy::AllowNetwork { network: "::/0".into() },
            Policy::RateLimit { count: 9, per_ms: 9 },
            Policy::Bandwidth { bytes: 5_000 },
            Policy::Expire { left_ms: 9 },
        ]
    };
    for spec in [tcp(), udp(), http()] {
        assert!(Policies::compile(common(), &spec).is_ok(), "{spec:?}");
    }
}

#[test]
fn what_does_not_is_refused_with_the_flag_in_the_message() {
    let network = |network: &str| Policy::AllowNetwork { network: network.into() };
    let rate = |count, per_ms| Policy::RateLimit { count, per_ms };
    for (spec, list, flag) in [
        (tcp(), vec![login()], "--basic-auth"),
        (udp(), vec![host("a")], "--host-header"),
        (tcp(), vec![Policy::RequestHeader(edit("x"))], "--request-header"),
        (tcp(), vec![Policy::ResponseHeader(edit("x"))], "--response-header"),
        (tcp(), vec![Policy::Compress], "--compress"),
        (http(), vec![network("")], "--allow-cidr"),
        (http(), vec![network("10.0.0.0/33\r\n")], "--allow-cidr"),
        (http(), vec![Policy::DenyNetwork { network: "x".into() }], "--deny-cidr"),
        (http(), vec![host("a b")], "--host-header"),
        (http(), vec![host("a"), host("b")], "--host-header"),
        (http(), vec![Policy::RequestHeader(edit("host"))], "--request-header"),
        (http(), vec![Policy::ResponseHeader(edit("content-length"))], "--response-header"),
        (http(), vec![rate(0, 1)], "--rate-limit"),
        (http(), vec![rate(1, 0)], "--rate-limit"),
        (http(), vec![rate(1, u64::MAX)], "--rate-limit"),
        (http(), vec![rate(1, 1), rate(1, 1)], "--rate-limit"),
        (http(), vec![Policy::Bandwidth { bytes: 0 }], "--bandwidth"),
        (http(), vec![Policy::Expire { left_ms: u64::MAX }], "--expire"),
        (
            http(),
            vec![Policy::BasicAuth(BasicLogin { salt: String::new(), mac: String::new() })],
            "--basic-auth",
        ),
        (http(), vec![login(); MAX + 1], "policies"),
    ] {
        let refusal = Policies::compile(list, &spec).unwrap_err();
        assert_eq!(refusal.code, Code::PolicyInvalid);
        assert!(refusal.message.contains(flag), "{flag}: {}", refusal.message);
        assert!(!refusal.message.contains('\r'));
    }
    let refusal = Policies::compile(vec![Policy::Unknown], &http()).unwrap_err();
    assert_eq!(refusal.code, Code::NotSupported);
}

#[test]
fn two_are_equal_if_the_same_was_asked_for() {
    let compile = |list| Policies::compile(list, &http()).unwrap();
    let rate = |count| Policy::RateLimit { count, per_ms: 1_000 };
    assert_eq!(
        compile(vec![rate(1), Policy::Expire { left_ms: 1 }]),
        compile(vec![Policy::Expire { left_ms: 2 }, rate(1)]),
    );
    assert_ne!(compile(vec![rate(1)]), compile(vec![rate(2)]));
    assert_ne!(compile(vec![login()]), compile(vec![]));
}
