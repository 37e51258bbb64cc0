//! The requests, by what is special about them. The path names the answer that [`super::service`] gives.

use super::Way;

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) method: &'static str,
    pub(super) target: &'static str,
    pub(super) fields: &'static [(&'static str, &'static str)],
    pub(super) body: Body,
    /// `HTTP/1.0`, which has no counterpart in HTTP/2.
    pub(super) is_ancient: bool,
    /// A WebSocket, which begins differently in HTTP/2 (RFC 8441).
    pub(super) upgrades: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    None,
    Length(&'static str),
    /// Pieces, and a trailer.
    Pieces(&'static [&'static str], Option<(&'static str, &'static str)>),
}

impl Case {
    const fn get(name: &'static str, target: &'static str) -> Self {
        Self::new(name, "GET", target)
    }

    const fn new(name: &'static str, method: &'static str, target: &'static str) -> Self {
        Self { name, method, target, fields: &[], body: Body::None, is_ancient: false, upgrades: false }
    }

    const fn with(self, fields: &'static [(&'static str, &'static str)]) -> Self {
        Self { fields, ..self }
    }

    const fn sends(self, body: Body) -> Self {
        Self { body, ..self }
    }

    const fn ancient(self) -> Self {
        Self { is_ancient: true, ..self }
    }

    const fn upgrade(self) -> Self {
        Self { upgrades: true, ..self }
    }

    pub(super) fn is_for(&self, way: Way) -> bool {
        !self.is_ancient || matches!(way, Way::Http1 | Way::Http1Tls)
    }
}

const BIG: &str = match str::from_utf8(&[b'x'; 6_000]) {
    Ok(text) => text,
    Err(_) => "",
};

/// What is asked of a service.
pub(super) fn all() -> Vec<Case> {
    vec![
        Case::get("a target that is not tidy", "/echo/a%2Fb/../c//d;x=1?q=%20&&a=/b?c"),
        Case::get("a query alone", "/echo?"),
        Case::new("PUT", "PUT", "/echo").sends(Body::Length("put")),
        Case::new("PATCH", "PATCH", "/echo").sends(Body::Length("patch")),
        Case::new("DELETE", "DELETE", "/echo"),
        Case::new("DELETE with a body", "DELETE", "/echo").sends(Body::Length("gone")),
        Case::new("OPTIONS", "OPTIONS", "/echo").with(&[("origin", "https://else.test")]),
        Case::new("OPTIONS *", "OPTIONS", "*"),
        Case::new("a method of one's own", "PURGE", "/echo"),
        Case::new("GET with a body", "GET", "/echo").sends(Body::Length("search")),
        Case::new("POST of nothing", "POST", "/echo").sends(Body::Length("")),
        Case::new("POST", "POST", "/echo").sends(Body::Length(BIG)),
        Case::new("POST in pieces", "POST", "/echo").sends(Body::Pieces(&["one", "two", BIG], None)),
        Case::new("POST with a trailer", "POST", "/echo")
            .with(&[("trailer", "x-sum")])
            .sends(Body::Pieces(&["one"], Some(("x-sum", "1")))),
        Case::new("Expect: 100-continue", "POST", "/echo")
            .with(&[("expect", "100-continue")])
            .sends(Body::Length("after")),
        Case::get("request fields", "/echo").with(&[
            ("cookie", "a=1; b=2"),
            ("authorization", "Bearer abc"),
            ("accept-encoding", "gzip, br;q=0.5"),
            ("x-twice", "1"),
            ("x-twice", "2"),
            ("x-empty", ""),
            ("referer", "https://else.test/x"),
            ("if-none-match", "\"x\", W/\"y\""),
            ("range", "bytes=0-4"),
            ("user-agent", "test/1 (a; b)"),
            ("cache-control", "no-cache"),
        ]),
        Case::get("a large request", "/echo").with(&[("x-a", BIG), ("x-b", BIG), ("x-c", BIG)]),
        Case::get("HTTP/1.0", "/echo").ancient(),
        Case::get("HTTP/1.0, an answer in chunks", "/chunked").ancient(),
        Case::get("HTTP/1.0, kept alive", "/cookies").with(&[("connection", "keep-alive")]).ancient(),
        Case::get("nothing", "/empty"),
        Case::get("204", "/204"),
        Case::get("205", "/205"),
        Case::get("304", "/304"),
        Case::get("304 with a length", "/304-length"),
        Case::new("HEAD with a length", "HEAD", "/long"),
        Case::new("HEAD of chunks", "HEAD", "/chunked"),
        Case::new("HEAD without either", "HEAD", "/204"),
        Case::get("a long answer", "/long"),
        Case::get("chunks", "/chunked"),
        Case::get("trailers", "/trailers").with(&[("te", "trailers")]),
        Case::get("a large head", "/big-head"),
        Case::get("a part", "/206").with(&[("range", "bytes=0-4")]),
        Case::get("no such part", "/416").with(&[("range", "bytes=99-")]),
        Case::get("a redirect", "/301"),
        Case::get("a redirect elsewhere", "/302"),
        Case::new("a redirect of a POST", "POST", "/308").sends(Body::Length("x")),
        Case::get("cookies", "/cookies"),
        Case::get("gzip", "/gzip").with(&[("accept-encoding", "gzip")]),
        Case::get("103", "/103"),
        Case::get("102", "/102"),
        Case::get("a status nobody knows", "/299"),
        Case::get("an error of the service", "/503"),
        Case::get("a login of the service", "/401"),
        Case::get("odd fields", "/fields"),
        Case::get("an answer as of 1996", "/ancient"),
        Case::get("an answer as of 1996, with a length", "/ancient-length"),
        Case::get("an answer until the end", "/until-close"),
        Case::get("an answer piece by piece", "/events").with(&[("accept", "text/event-stream")]),
        Case::get("an answer cut short of its length", "/cut-length"),
        Case::get("chunks cut short", "/cut-chunks"),
        Case::get("an answer reset", "/reset-length"),
        Case::get("chunks reset", "/reset-chunks"),
        Case::get("a WebSocket", "/socket")
            .with(&[
                ("sec-websocket-version", "13"),
                ("sec-websocket-protocol", "chat, talk"),
                ("origin", "https://else.test"),
            ])
            .upgrade(),
        Case::get("a WebSocket refused", "/401").with(&[("sec-websocket-version", "13")]).upgrade(),
    ]
}

/// What is asked of a directory, and the status.
pub(super) fn of_files() -> Vec<(Case, u16)> {
    vec![
        (Case::get("the index", "/"), 200),
        (Case::get("a file", "/data.bin"), 200),
        (Case::new("its head", "HEAD", "/data.bin"), 200),
        (Case::get("a part of it", "/data.bin").with(&[("range", "bytes=10-19")]), 206),
        (Case::get("its end", "/data.bin").with(&[("range", "bytes=-5")]), 206),
        (Case::get("no such part", "/data.bin").with(&[("range", "bytes=100000-")]), 416),
        (Case::get("what is not there", "/none"), 404),
        (Case::get("what is above", "/../site.key"), 404),
        (Case::new("a change", "POST", "/data.bin").sends(Body::Length("x")), 405),
    ]
}
