//! Which answers are compressed, what their heads say then, and that bodies come out as they went in.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::Read,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ::http::{HeaderMap, Response};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body::{Body, Frame};
use proptest::prelude::*;
use tokio::sync::Semaphore;
use tunnel_router::Hostname;

use super::{squeeze::PIECE, *};
use crate::config::Config;

fn shared() -> Shared {
    Shared::new(Config::new(Hostname::parse("example.com").unwrap()))
}

fn head(status: u16, fields: &[(&'static str, &'static str)]) -> response::Parts {
    let mut builder = Response::builder().status(status);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

fn wish(method: &Method, version: Version, accepted: &'static str) -> Wish {
    let headers =
        HeaderMap::from_iter([(::http::header::ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
    Wish::of(method, version, &headers)
}

fn usual() -> Wish {
    wish(&Method::GET, Version::HTTP_11, "gzip, br")
}

#[test]
fn what_is_compressed_and_what_is_not() {
    const LONG: (&str, &str) = ("content-length", "5000");
    const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");
    let shared = shared();
    for (status, fields, expected) in [
        (200, &[HTML, LONG][..], true),
        (200, &[HTML], true),
        (404, &[HTML, LONG], true),
        (200, &[LONG, ("content-type", "application/problem+json")], true),
        (200, &[LONG, ("content-type", "Image/SVG+XML")], true),
        (200, &[("content-type", "text/event-stream")], true),
        (200, &[HTML, ("content-length", "1024")], true),
        (200, &[HTML, ("content-length", "1023")], false),
        (200, &[LONG], false),
        (200, &[LONG, ("content-type", "image/png")], false),
        (200, &[LONG, ("content-type", "application/grpc")], false),
        (200, &[LONG, ("content-type", "application/octet-stream")], false),
        (200, &[HTML, LONG, ("content-encoding", "br")], false),
        (200, &[HTML, LONG, ("content-encoding", "identity")], false),
        (200, &[HTML, LONG, ("cache-control", "public, No-Transform")], false),
        (200, &[HTML, LONG, ("content-digest", "sha-256=:x:")], false),
        (206, &[HTML, LONG, ("content-range", "bytes 0-4999/9999")], false),
        (200, &[HTML, LONG, ("content-range", "bytes 0-4999/9999")], false),
        (204, &[HTML], false),
        (205, &[HTML], false),
        (304, &[HTML, LONG], false),
        (101, &[HTML, LONG], false),
    ] {
        let mut parts = head(status, fields);
        let before = parts.headers.clone();
        let squeeze = usual().grant(&shared, &mut parts, &SizeHint::default());
        assert_eq!(squeeze.is_some(), expected, "{status} {fields:?}");
        if !expected {
            assert_eq!(parts.headers, before, "{status} {fields:?}");
        }
    }
    let mut parts = head(200, &[HTML]);
    assert!(usual().grant(&shared, &mut parts, &SizeHint::with_exact(500)).is_none(), "known to be short");
}

#[test]
fn the_head_says_what_became_of_the_body() {
    let fields = [
        ("content-type", "text/css"),
        ("content-length", "5000"),
        ("accept-ranges", "bytes"),
        ("etag", "\"abc\""),
        ("vary", "Origin"),
    ];
    let shared = shared();
    let mut parts = head(200, &fields);
    assert!(usual().grant(&shared, &mut parts, &SizeHint::with_exact(5000)).is_some());
    let vary: Vec<_> = parts.headers.get_all(VARY).iter().collect();
    assert_eq!(vary, ["Origin", "Accept-Encoding"]);
    assert_eq!(parts.headers[CONTENT_ENCODING], "gzip");
    assert_eq!(parts.headers[ETAG], "W/\"abc\"");
    assert!(!parts.headers.contains_key(CONTENT_LENGTH));
    assert!(!parts.headers.contains_key(ACCEPT_RANGES));

    // A visitor that doesn't take it, a HEAD, and HTTP/1.0: only that it depends on who asks.
    for wish in [
        wish(&Method::GET, Version::HTTP_11, "br"),
        wish(&Method::HEAD, Version::HTTP_11, "gzip"),
        wish(&Method::GET, Version::HTTP_10, "gzip"),
    ] {
        let mut parts = head(200, &fields);
        let mut expected = parts.headers.clone();
        expected.append(VARY, HeaderValue::from_static("Accept-Encoding"));
        assert!(wish.grant(&shared, &mut parts, &SizeHint::with_exact(5000)).is_none(), "{wish:?}");
        assert_eq!(parts.headers, expected, "{wish:?}");
    }

    let mut parts = head(200, &[("content-type", "text/css"), ("vary", "*"), ("etag", "W/\"x\"")]);
    assert!(usual().grant(&shared, &mut parts, &SizeHint::default()).is_some());
    assert_eq!(
        (&parts.headers[VARY], &parts.headers[ETAG]),
        (&"*".parse().unwrap(), &"W/\"x\"".parse().unwrap())
    );
}

#[test]
fn when_there_is_no_room_it_goes_as_it_is() {
    let shared = Shared { compressors: Arc::new(Semaphore::new(1)), ..shared() };
    let grant =
        || usual().grant(&shared, &mut head(200, &[("content-type", "text/css")]), &SizeHint::default());
    let first = grant();
    assert!(first.is_some());
    assert!(grant().is_none());
    drop(first);
    assert!(grant().is_some());
}

/// What an upstream does, step by step.
#[derive(Clone, Debug)]
enum Step {
    Data(Bytes),
    Wait,
    Trailers,
    Fail,
}

struct Script(VecDeque<Step>);

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        match self.0.pop_front() {
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Step::Wait) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Trailers) => {
                let fields = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("trailer"))]);
                Poll::Ready(Some(Ok(Frame::trailers(fields))))
            }
            Some(Step::Fail) => Poll::Ready(Some(Err("broken off"))),
            None => Poll::Ready(None),
        }
    }
}

fn squeeze() -> Squeeze<&'static str> {
    let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    Squeeze::new(place)
}

fn expand(coded: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(coded).read_to_end(&mut plain).unwrap();
    plain
}

/// What can be read of a beginning.
fn expand_so_far(coded: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let _ = MultiGzDecoder::new(coded).read_to_end(&mut plain);
    plain
}

/// All frames, the data put together: coded bytes, whether trailers came last, and the error if there was one.
async fn run(steps: Vec<Step>) -> (Vec<u8>, bool, Option<&'static str>) {
    let (mut squeeze, mut script) = (squeeze(), Script(steps.into()));
    let (mut coded, mut trailers) = (Vec::new(), false);
    loop {
        match poll_fn(|cx| squeeze.poll_frame(Pin::new(&mut script), cx)).await {
            Some(Ok(frame)) => {
                assert!(!trailers, "nothing comes after trailers");
                match frame.into_data() {
                    Ok(data) => coded.extend_from_slice(&data),
                    Err(_) => trailers = true,
                }
            }
            Some(Err(error)) => return (coded, trailers, Some(error)),
            None => {
                assert!(squeeze.is_end_stream());
                return (coded, trailers, None);
            }
        }
    }
}

#[tokio::test]
async fn what_was_said_goes_out_before_the_upstream_says_more() {
    let events = ["data: one\n\n", "data: two\n\n", "data: three\n\n"];
    let steps = events.iter().flat_map(|event| [Step::Data((*event).into()), Step::Wait]).collect();
    let (mut squeeze, mut script) = (squeeze(), Script(steps));
    let (mut coded, mut expected) = (Vec::new(), String::new());
    for event in events {
        let frame = poll_fn(|cx| squeeze.poll_frame(Pin::new(&mut script), cx)).await.unwrap().unwrap();
        coded.extend_from_slice(&frame.into_data().unwrap());
        expected.push_str(event);
        assert_eq!(expand_so_far(&coded), expected.as_bytes());
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_has_all_that_came_and_no_end() {
    let data = Bytes::from("x".repeat(100_000));
    let steps = [Step::Data(data.clone()), Step::Wait, Step::Data("and more".into())];
    // What was said last is still in the coder, or has just left it.
    for (steps, plain) in [(&steps[..], [&data[..], b"and more"].concat()), (&steps[..2], data.to_vec())] {
        let (coded, trailers, error) = run([steps, &[Step::Fail]].concat()).await;
        assert_eq!((trailers, error), (false, Some("broken off")));
        assert!(expand_so_far(&coded) == plain, "{} bytes", expand_so_far(&coded).len());
        let mut plain = Vec::new();
        assert!(MultiGzDecoder::new(&coded[..]).read_to_end(&mut plain).is_err(), "it looks whole");
    }
    let (coded, _, error) = run(vec![Step::Fail]).await;
    assert_eq!((coded.len(), error), (0, Some("broken off")), "nothing was said");
}

#[tokio::test]
async fn nothing_is_a_body_too() {
    let (coded, trailers, error) = run(vec![]).await;
    assert_eq!((expand(&coded), trailers, error), (Vec::new(), false, None));
}

#[test]
fn one_turn_is_short() {
    let mut script = Script([Step::Data(Bytes::from(vec![7; 10 * PIECE]))].into());
    let mut squeeze = squeeze();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    // So uniform that nothing comes out for long: it yields all the same.
    assert!(squeeze.poll_frame(Pin::new(&mut script), &mut cx).is_pending());
    assert_eq!(format!("{squeeze:?}"), format!("Squeeze {{ input: {}, .. }}", 9 * PIECE));
}

fn step() -> impl Strategy<Value = Step> {
    let noise = prop::collection::vec(any::<u8>(), 0..40_000).prop_map(|data| Step::Data(data.into()));
    let text = (0..60_000_usize).prop_map(|n| Step::Data("lorem ipsum ".repeat(n / 12).into()));
    prop_oneof![noise, text, Just(Step::Wait)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_goes_in_comes_out(steps in prop::collection::vec(step(), 0..8), trailers: bool) {
        let plain: Vec<u8> = steps.iter().flat_map(|step| match step {
            Step::Data(data) => data.to_vec(),
            _ => Vec::new(),
        }).collect();
        let mut all = steps;
        if trailers {
            all.push(Step::Trailers);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (coded, had_trailers, error) = runtime.block_on(run(all));
        prop_assert_eq!(expand(&coded), plain);
        prop_assert_eq!((had_trailers, error), (trailers, None));
    }
}
