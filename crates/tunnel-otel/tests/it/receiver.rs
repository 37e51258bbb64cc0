//! An OTLP receiver, as far as traces go: reads requests, decodes them, and answers as the test likes.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tunnel_otel::message::{ExportRequest, KeyValue, Span, Value};
use tunnel_testkit::{Upstream, find_head_end, header};

/// Longer than anything here takes: only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(60);

/// A receiver on a port of its own.
pub(crate) struct Receiver {
    upstream: Upstream,
    sent: mpsc::Receiver<Sent>,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) head: String,
    pub(crate) request: ExportRequest,
}

/// How a request is answered.
#[derive(Clone, Copy)]
pub(crate) struct Reply {
    pub(crate) status: &'static str,
    pub(crate) fields: &'static str,
    /// Whether the connection is closed after it, without saying so.
    pub(crate) closes: bool,
}

impl Reply {
    /// All were taken.
    pub(crate) const TAKEN: Self = Self { status: "200 OK", fields: "", closes: false };
}

impl Receiver {
    /// Answers by `reply`, which is told how many requests came before.
    pub(crate) async fn start(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let (tell, sent) = mpsc::channel(64);
        let (reply, asked) = (Arc::new(reply), Arc::<AtomicUsize>::default());
        let upstream = Upstream::start(move |mut stream| {
            let (tell, reply, asked) = (tell.clone(), reply.clone(), asked.clone());
            async move {
                while let Ok((head, body)) = read(&mut stream).await {
                    let request = ExportRequest::decode(body.as_slice()).unwrap();
                    let Reply { status, fields, closes } = reply(asked.fetch_add(1, Ordering::Relaxed));
                    tell.send(Sent { head, request }).await.unwrap();
                    let answer = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: 0\r\n\r\n");
                    if stream.write_all(answer.as_bytes()).await.is_err() || closes {
                        return;
                    }
                }
            }
        });
        Self { upstream: upstream.await.unwrap(), sent }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.upstream.target())
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Sent {
        timeout(PATIENCE, self.sent.recv()).await.expect("a request in time").unwrap()
    }

    /// What was sent and not looked at yet; all of it, since a sender waits for the answers.
    pub(crate) async fn rest(&mut self) -> Vec<Sent> {
        let mut rest = Vec::new();
        while let Ok(sent) = self.sent.try_recv() {
            rest.push(sent);
        }
        rest
    }

    /// The spans of it.
    pub(crate) async fn spans(&mut self) -> Vec<Span> {
        self.rest().await.iter().flat_map(Sent::spans).collect()
    }
}

impl Sent {
    pub(crate) fn spans(&self) -> Vec<Span> {
        let scopes = self.request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

/// An attribute as text.
pub(crate) fn value(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match attribute.value.clone()?.value? {
        Value::Text(text) => text,
        Value::Int(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
    })
}

async fn read(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = find_head_end(&bytes) {
            break end;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).unwrap();
    let length = header(&head, "content-length").unwrap().parse().unwrap();
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((head, body))
}
