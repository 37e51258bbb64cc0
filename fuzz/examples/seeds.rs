//! Writes the seeds that are easier to say than to type: `cargo run --manifest-path fuzz/Cargo.toml --example seeds`.
//!
//! Overwrites its own files and touches no others, so what fuzzing found stays.

use std::io;
use std::path::Path;

use tunnel_protocol::bind::{HostSpec, PortSpec, PublicAddress};
use tunnel_protocol::control::RequestReport;
use tunnel_protocol::datagram::{DATAGRAM_MAX, Frame};
use tunnel_protocol::login::{Attach, Credential};
use tunnel_protocol::proxy::{self, ProxyVersion};
use tunnel_protocol::{
    BindSpec, Challenge, ClientMessage, Code, Hello, InstanceId, LoginReply, Policy, Refusal, RequestId,
    Secret, ServerMessage, SessionId, StreamHeader, StreamKind, StreamReply, Token, TunnelId, Twin, Version,
    Welcome, frame, version,
};

fn main() -> io::Result<()> {
    login_frame()?;
    control_message()?;
    stream_header()?;
    datagrams()?;
    token_text()?;
    host_name()?;
    chunked_body()?;
    client_hello()?;
    http_head()?;
    proxy_header()?;
    mux_frames()
}

fn write(target: &str, name: &str, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes)
}

fn framed<T: serde::Serialize>(message: &T) -> Vec<u8> {
    frame::encode(message, usize::MAX).expect("our messages can be written").to_vec()
}

fn login_frame() -> io::Result<()> {
    let token = example_token(None);
    let hello = |credential, attach| Hello {
        versions: version::SUPPORTED,
        credential,
        instance: InstanceId([7; 16]),
        agent: "tunnel/0.1.0".into(),
        machine: "laptop".into(),
        twins: true,
        attach,
    };
    let by_token = Credential::Token { id: token.id(), secret: token.secret().clone() };
    let by_proof = Credential::Proof { id: token.id(), mac: Secret::new([2; 32]) };
    let attach = Attach { session: SessionId(9), resume: Secret::new([4; 32]) };
    let welcome = Welcome {
        version: Version(1),
        session: SessionId(9),
        resume: Secret::new([4; 32]),
        heartbeat_ms: 5000,
        dead_after_ms: 15_000,
        streams_per_lane: 1024,
        max_lanes: 8,
        hold_s: 60,
        agent: "tunnel/0.1.0".into(),
        account: "me".into(),
        clock_ms: Some(1_800_000_000_000),
    };
    write("login_frame", "hello-token", framed(&hello(by_token, None)))?;
    write("login_frame", "hello-proof-attach", framed(&hello(by_proof, Some(attach))))?;
    write("login_frame", "hello-anonymous", framed(&hello(Credential::Anonymous, None)))?;
    write("login_frame", "challenge", framed(&Challenge { nonce: Secret::new([1; 32]) }))?;
    write("login_frame", "welcome", framed(&LoginReply::Welcome(welcome)))?;
    let refusal = Refusal::passing(Code::ServerBusy, "come back \u{e9}\n", 1000);
    write("login_frame", "refused", framed(&LoginReply::Refused(refusal)))?;
    write("login_frame", "too-long", [0, 0, 0x10, 1])?;
    let deep = format!("{{\"credential\":{{\"kind\":\"x\",\"a\":{}{}}}}}", "[".repeat(100), "]".repeat(100));
    let prefix = u32::try_from(deep.len()).expect("short").to_be_bytes();
    write("login_frame", "deep", [&prefix, deep.as_bytes()].concat())
}

fn control_message() -> io::Result<()> {
    let tunnel = TunnelId(1);
    let refusal = || Refusal::permanent(Code::NameTaken, "somebody else has it");
    let bind = |spec| {
        let upstream = "127.0.0.1:3000".into();
        ClientMessage::Bind {
            tunnel,
            spec,
            policies: vec![Policy::Compress],
            upstream,
            report_requests: true,
            replaces: Some(TunnelId(2)),
        }
    };
    let from_client = [
        bind(HostSpec::subdomain("app").into()),
        bind(HostSpec::preferred("blue-fox").into()),
        bind(BindSpec::Tcp(PortSpec { port: Some(25_432), ..PortSpec::default() })),
        bind(BindSpec::Unknown),
        ClientMessage::Unbind { tunnel },
        ClientMessage::Ping { seq: u64::MAX },
        ClientMessage::Pong { seq: 0 },
        ClientMessage::Drain { moved: Some(true) },
        ClientMessage::Unknown,
    ];
    let report = RequestReport {
        tunnel,
        request: RequestId(5),
        visitor: "[2001:db8::1]:4000".parse().expect("an address"),
        method: "GET".into(),
        path: "/a?b".into(),
        status: 200,
        duration_ms: 12,
        hint: None,
        dropped: 0,
    };
    let from_server = [
        ServerMessage::Bound {
            tunnel,
            address: PublicAddress::Http {
                url: "http://app.example.com".into(),
                host: "app.example.com".into(),
                subdomain: Some("app".into()),
            },
        },
        ServerMessage::Bound {
            tunnel,
            address: PublicAddress::Tcp { url: "tcp://example.com:1".into(), port: 1 },
        },
        ServerMessage::Refused { tunnel, refusal: refusal() },
        ServerMessage::Unbound { tunnel, refusal: refusal() },
        ServerMessage::GoAway { refusal: refusal() },
        ServerMessage::Drained,
        ServerMessage::WantLanes { lanes: 4 },
        ServerMessage::Request(report),
        ServerMessage::Notice { message: "hello \"you\"".into() },
    ];
    for (n, message) in from_client.iter().enumerate() {
        write("control_message", &format!("client-{n}"), framed(message))?;
    }
    for (n, message) in from_server.iter().enumerate() {
        write("control_message", &format!("server-{n}"), framed(message))?;
    }
    let all: Vec<u8> = from_client.iter().flat_map(framed).collect();
    write("control_message", "client-all", all)
}

fn stream_header() -> io::Result<()> {
    let header = |visitor: Option<&str>, local: Option<&str>| StreamHeader {
        kind: StreamKind::Http,
        tunnel: TunnelId(7),
        request: RequestId(0xABCD),
        visitor: visitor.map(|address| address.parse().expect("an address")),
        local: local.map(|address| address.parse().expect("an address")),
        twin: None,
    };
    write("stream_header", "none", header(None, None).encode())?;
    write("stream_header", "v4", header(Some("192.0.2.1:4000"), Some("192.0.2.2:80")).encode())?;
    write("stream_header", "v6", header(Some("[2001:db8::1]:1"), Some("[::ffff:1.2.3.4]:65535")).encode())?;
    let of = |twin| StreamHeader { twin: Some(twin), ..header(Some("192.0.2.1:4000"), None) };
    write("stream_header", "twin-expected", of(Twin::Expected(9)).encode())?;
    write("stream_header", "twin-of", of(Twin::Of(9)).encode())?;
    let mut newer = header(None, None).encode().to_vec();
    newer[1] += 4;
    newer.extend_from_slice(b"more");
    write("stream_header", "newer", newer)?;
    write("stream_header", "accepted", StreamReply::Accepted.encode())?;
    write("stream_header", "refused", StreamReply::Refused(Code::UpstreamRefused).encode())
}

fn datagrams() -> io::Result<()> {
    let long = Frame::Datagram(vec![7; DATAGRAM_MAX].into());
    let conversation =
        [Frame::Datagram(b"ping"[..].into()), Frame::Datagram(b""[..].into()), Frame::Receipt(8)];
    for (name, frames) in
        [("conversation", &conversation[..]), ("long", &[long]), ("lie", &[Frame::Receipt(1)])]
    {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        write("datagrams", name, bytes)?;
    }
    write("datagrams", "reserved", [0xFF, 0xF0])
}

fn example_token(pin: Option<[u8; 32]>) -> Token {
    Token::new(*b"0123456789abcdef0123456789abcdef", pin)
}

fn token_text() -> io::Result<()> {
    write("token_text", "plain", example_token(None).expose())?;
    write("token_text", "pinned", format!("  {}\n", example_token(Some([3; 32])).expose()))?;
    let inside = [&[1][..], b"0123456789abcdef0123456789abcdef"].concat();
    write("token_text", "inside", &inside)?;
    write("token_text", "inside-pinned", [&inside[..], &[9; 32]].concat())?;
    write("token_text", "inside-newer", [&[2], &inside[1..]].concat())?;
    write("token_text", "id", "0123456789abcdef")?;
    write("token_text", "id-long", "0123456789abcdef0123456789abcdef")?;
    write("token_text", "hash", "0123456789abcdef".repeat(4))
}

fn host_name() -> io::Result<()> {
    let long = format!("{}.{}.test", "a".repeat(63), "b.".repeat(90) + "c");
    for (name, text) in [
        ("name", "App.Example.COM."),
        ("port", "app.example.com:8080"),
        ("label", "my-app-1"),
        ("punycode", "xn--pple-43d.test"),
        ("wildcard", "*.dev.example.com"),
        ("v4", "127.0.0.1:80"),
        ("v4-short", "127.1"),
        ("v4-hex", "a.0x7F"),
        ("v6", "[2001:DB8::1]:443"),
        ("v6-mapped", "[::ffff:192.0.2.1]"),
        ("user", "user@app.test"),
        ("long", &long),
    ] {
        write("host_name", name, text)?;
    }
    Ok(())
}

fn chunked_body() -> io::Result<()> {
    for (name, text) in [
        ("empty", "0\r\n\r\n"),
        ("two", "5\r\nhello\r\nA;ext=\"1\"\r\n0123456789\r\n0\r\n\r\nGET / HTTP/1.1\r\n"),
        ("trailers", "1\r\nx\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n"),
        ("forbidden", "0\r\nHost: b.test\r\n\r\n"),
        ("bare-lf", "5\nhello\n0\n\n"),
        ("wraps", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("huge", "ffffffffffffffff\r\n0\r\n\r\n"),
        ("spaces", "5 \r\nhello\r\n0\r\n\r\n"),
    ] {
        write("chunked_body", name, text)?;
    }
    Ok(())
}

fn client_hello() -> io::Result<()> {
    let openssl = include_bytes!("../../crates/tunnel-router/src/sniff/tls/openssl_hello.bin");
    write("client_hello", "openssl", openssl)?;
    let (header, message) = openssl.split_at(5);
    for (name, len) in [("records-of-100", 100), ("records-of-1", 1)] {
        let record = |part: &[u8]| {
            let len = u16::try_from(part.len()).expect("a short part").to_be_bytes();
            [&header[..3], &len, part].concat()
        };
        write("client_hello", name, message.chunks(len).flat_map(record).collect::<Vec<_>>())?;
    }
    let mut name = b"\0\0\0\x0b\0\x09\0\0\x06a.test".to_vec();
    write("client_hello", "minimal", hello_with(&name))?;
    let ip = b"\0\0\0\x0e\0\x0c\0\0\x09127.0.0.1";
    write("client_hello", "address", hello_with(ip))?;
    name.extend_from_slice(b"\0\x10\0\x0e\0\x0c\x02h2\x08http/1.1");
    write("client_hello", "alpn", hello_with(&name))?;
    write("client_hello", "no-extensions", hello_with(b""))?;
    write("client_hello", "http", "GET / HTTP/1.1\r\n\r\n")
}

/// A hello that rustls takes, with these extensions and the two it insists on.
fn hello_with(extensions: &[u8]) -> Vec<u8> {
    let short = |len: usize| u16::try_from(len).expect("a short hello").to_be_bytes();
    let groups = b"\0\x0a\0\x04\0\x02\0\x1d\0\x0d\0\x04\0\x02\x04\x03";
    let extensions = [extensions, groups].concat();
    let mut body = vec![3, 3];
    body.extend_from_slice(&[5; 32]);
    body.extend_from_slice(&[0, 0, 4, 0x13, 1, 0xc0, 0x2b, 1, 0]);
    body.extend_from_slice(&short(extensions.len()));
    body.extend_from_slice(&extensions);
    let message = [&[1, 0][..], &short(body.len()), &body].concat();
    [&[22, 3, 1][..], &short(message.len()), &message].concat()
}

fn http_head() -> io::Result<()> {
    for (name, text) in [
        ("get", "GET /a?b=c HTTP/1.1\r\nHost: a.test\r\n\r\nrest"),
        ("old", "GET / HTTP/1.0\r\nhost: a.test:8080\r\nConnection: keep-alive\r\n\r\n"),
        ("post", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"),
        ("chunked", "PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("absolute", "GET http://A.test:80/x HTTP/1.1\r\nHost: a.test\r\nX: \t \u{e9} \r\n\r\n"),
        ("https", "GET HTTPS://[::1] HTTP/1.1\r\nHost: [::1]:443\r\n\r\n"),
        ("absolute-query", "GET http://a.test?x@b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("options", "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("upgrade", "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: a, upgrade\r\nUpgrade: websocket\r\n\r\n"),
        (
            "smuggle",
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        ("fold", "GET / HTTP/1.1\r\nHost: a.test\r\n b.test\r\n\r\n"),
        ("bare-lf", "GET / HTTP/1.1\nHost: a.test\n\n"),
        ("connect", "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"),
        ("http2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("odd-target", "GET /\"<>\\^`{|} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ] {
        write("http_head", name, text)?;
    }
    Ok(())
}

const DATA: u8 = 0;
const WINDOW_UPDATE: u8 = 1;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;
const SYN: u8 = 1;
const ACK: u8 = 2;
const FIN: u8 = 4;
const RST: u8 = 8;

fn proxy_header() -> io::Result<()> {
    let v4 = ("192.0.2.1:4000".parse().ok(), "198.51.100.7:443".parse().ok());
    let v6 = ("[2001:db8::1]:4000".parse().ok(), "[2001:db8::2]:443".parse().ok());
    for (name, version) in [("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)] {
        write("proxy_header", &format!("{name}-v4"), proxy::write(version, v4.0, v4.1))?;
        write("proxy_header", &format!("{name}-v6"), proxy::write(version, v6.0, v6.1))?;
        write("proxy_header", &format!("{name}-own"), proxy::write(version, None, None))?;
    }
    let v2 = proxy::write(ProxyVersion::V2, v4.0, v4.1);
    let mut tlv = v2.to_vec();
    tlv[15] += 6;
    tlv.extend([0x04, 0, 3, b'a', b'b', b'c']);
    write("proxy_header", "v2-tlv-and-more", [&tlv[..], b"GET / HTTP/1.1\r\n"].concat())?;
    write("proxy_header", "v1-and-more", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n")?;
    write("proxy_header", "v1-endless", "PROXY UNKNOWN ".to_owned() + &"x".repeat(200))?;
    write("proxy_header", "none", "GET / HTTP/1.1\r\n\r\n")
}

fn mux_frames() -> io::Result<()> {
    let frame = |kind, flags, stream: u32, length: u32| {
        [&[0, kind, 0, flags][..], &stream.to_be_bytes(), &length.to_be_bytes()].concat()
    };
    let open = |stream| frame(DATA, SYN, stream, 0);
    let exchange = [frame(DATA, SYN, 1, 3), b"abc".into(), frame(DATA, FIN, 1, 2), b"de".into()].concat();
    write("mux_frames", "exchange", &exchange)?;
    write(
        "mux_frames",
        "ours",
        [frame(WINDOW_UPDATE, ACK, 2, 0), frame(DATA, FIN, 2, 1), b"x".into()].concat(),
    )?;
    write("mux_frames", "reset", [open(1), frame(DATA, RST, 1, 2), b"zz".into(), open(3)].concat())?;
    write("mux_frames", "credit", [open(1), frame(WINDOW_UPDATE, 0, 1, u32::MAX)].concat())?;
    write("mux_frames", "ping", [frame(PING, SYN, 0, 42), frame(PING, ACK, 0, 42)].concat())?;
    write("mux_frames", "go-away", [open(1), frame(GO_AWAY, 0, 0, 1)].concat())?;
    write("mux_frames", "many", (0..80).flat_map(|n| open(2 * n + 1)).collect::<Vec<_>>())?;
    write("mux_frames", "pings", frame(PING, SYN, 0, 1).repeat(200))?;
    write("mux_frames", "cut", &exchange[..14])?;
    write("mux_bodies", "window", frame(DATA, SYN, 1, 256 << 10))?;
    write("mux_bodies", "overrun", [frame(DATA, SYN, 1, 256 << 10), frame(DATA, 0, 1, 1)].concat())?;
    write("mux_bodies", "too-long", frame(DATA, SYN, 1, (1 << 20) + 1))?;
    write("mux_bodies", "ours", [frame(WINDOW_UPDATE, ACK, 2, 0), frame(DATA, 0, 2, 200_000)].concat())?;
    write(
        "mux_bodies",
        "reset",
        [open(1), frame(DATA, RST, 1, 300_000), frame(DATA, SYN | FIN, 3, 9)].concat(),
    )?;
    write("mux_bodies", "two", [frame(DATA, SYN, 1, 100_000), frame(DATA, SYN, 3, 100_000)].concat())
}
