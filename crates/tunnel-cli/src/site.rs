//! A page for `tunnel demo`: something to see behind the tunnel. It shows the request as it arrived.

use std::{fmt::Write, io, net::SocketAddr};

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header::CACHE_CONTROL},
    response::{Html, IntoResponse, Response},
};
use tokio::net::TcpListener;

/// The site, on a free port of loopback; nobody is answered before it is served.
pub(crate) struct Site {
    listener: TcpListener,
}

impl Site {
    pub(crate) async fn open() -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind("127.0.0.1:0").await? })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves visitors until dropped.
    pub(crate) async fn serve(self) {
        // It never ends, and never fails.
        let _ = axum::serve(self.listener, Router::new().fallback(answer)).await;
    }
}

async fn answer(request: Request) -> Response {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    ([(CACHE_CONTROL, HeaderValue::from_static("no-cache"))], Html(page(&request))).into_response()
}

fn page<B>(request: &axum::http::Request<B>) -> String {
    let mut rows = String::new();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        // Writing to a string can't fail.
        let _ = write!(rows, "<tr><th>{}</th><td>{}</td></tr>", escape(name.as_str()), escape(&value));
    }
    let (method, target) = (request.method().as_str(), request.uri().to_string());
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>It works</title><style>body{{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;\
         padding:0 1rem}}th{{text-align:left;padding-right:1rem}}td,th{{font:14px monospace;vertical-align:top;\
         word-break:break-all}}</style><body><h1>It works.</h1>\
         <p>This page comes from a small site behind a tunnel: your browser asked the server, the server passed the \
         request through the tunnel to the client, and the client fetched it here.</p>\
         <p><code>{} {}</code> arrived with:</p><table>{rows}</table>\
         <p>Next: <code>tunnel server</code> on a machine of yours, and <code>tunnel http 3000</code> on this one.</p>\
         </body></html>\n",
        escape(method),
        escape(&target)
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        task::JoinSet,
    };

    use super::*;

    #[tokio::test]
    async fn it_shows_the_request_and_nothing_in_it_becomes_markup() {
        let site = Site::open().await.unwrap();
        let mut stream = TcpStream::connect(site.address().unwrap()).await.unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(site.serve());
        let requests = "GET /first?'x' HTTP/1.1\r\nHost: x\r\nUser-Agent: \"><img>\r\n\r\n\
                        POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
        stream.write_all(requests.as_bytes()).await.unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).await.unwrap();
        assert!(answers.starts_with("HTTP/1.1 200 "), "{answers}");
        assert!(answers.contains("HTTP/1.1 405 "), "{answers}");
        assert!(
            answers.contains("GET /first?&#39;x&#39;") && answers.contains("&quot;&gt;&lt;img&gt;"),
            "{answers}"
        );
        assert!(!answers.contains("<img>"), "{answers}");
    }
}
