//! Heads: the strict reading of a request's, and the writing and reading of a stream's.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tunnel_protocol::{RequestId, StreamHeader, StreamKind, TunnelId};
use tunnel_router::{ChunkedBody, HeadLimits, parse_head};

/// What a browser sends.
const BROWSER: &str = "GET /assets/app.js?v=3 HTTP/1.1\r\nHost: myapp.vps.example.com\r\n\
    Connection: keep-alive\r\nsec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\n\
    sec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Accept: */*\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\n\
    Referer: http://myapp.vps.example.com/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\r\n";

/// What a webhook sends before its body.
const WEBHOOK: &str = "POST /hook HTTP/1.1\r\nHost: hooks.vps.example.com\r\nUser-Agent: Hookshot/1\r\n\
    Content-Type: application/json\r\nContent-Length: 512\r\n\r\n";

/// Chunks of a streamed body, in bytes.
const CHUNK: usize = 1 << 10;

pub(crate) fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    let limits = HeadLimits::default();
    for (what, head) in [("a browser's request", BROWSER), ("a webhook", WEBHOOK)] {
        group.throughput(Throughput::Bytes(head.len() as u64));
        group
            .bench_function(what, |bencher| bencher.iter(|| parse_head(black_box(head.as_bytes()), &limits)));
    }
    let chunks = format!("{CHUNK:x}\r\n{}\r\n", "x".repeat(CHUNK)).repeat(16);
    group.throughput(Throughput::Bytes(chunks.len() as u64));
    group.bench_function("16 chunks of a body", |bencher| {
        bencher.iter(|| ChunkedBody::new().advance(black_box(chunks.as_bytes())).unwrap());
    });
    group.finish();

    let header = StreamHeader {
        kind: StreamKind::Tcp,
        tunnel: TunnelId(7),
        request: RequestId(u128::MAX / 3),
        visitor: Some("203.0.113.7:51000".parse().unwrap()),
        local: Some("[2001:db8::1]:443".parse().unwrap()),
        twin: None,
    };
    criterion.bench_function("stream header, written and read", |bencher| {
        bencher.iter(|| StreamHeader::decode(&black_box(&header).encode()[2..]).unwrap());
    });
}
