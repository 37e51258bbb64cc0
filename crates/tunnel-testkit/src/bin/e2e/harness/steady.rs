//! Visitors of several kinds who come at a steady rate, whatever happens: GET and POST, over HTTP/1.1 and HTTP/2,
//! with TLS, on fresh connections and on kept ones.
//!
//! Nothing is sent again: what happens to certificates, policies, clients and server processes is none of a visitor's
//! business, so a connection that the server closes without a word is a failure here. One that it says goodbye on
//! (`Connection: close`, GOAWAY) is left, as by every program. (A restarted server is another matter, see `load`.)

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tunnel_testkit::{Upstream, Visitor, find_head_end, header};
use tunnel_transport::UpstreamTlsStream;

use super::{Fault, Http2, Outcome, PATIENCE, http2_ask, rate::Rate};

/// Visitors coming.
#[derive(Debug)]
pub(crate) struct Steady {
    crowd: Arc<Crowd>,
    rate: Rate,
}

/// Where visitors go, and what they trust.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    pub(crate) https: SocketAddr,
    /// Without a port.
    pub(crate) host: String,
    /// Every certificate that is right at some time (PEM).
    pub(crate) trusted: String,
}

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct Visits {
    pub(crate) answered: u64,
    /// Those whose GET failed.
    pub(crate) gets: Vec<String>,
    /// Those whose POST failed.
    pub(crate) posts: Vec<String>,
    /// How often somebody moved to another connection, since GOAWAY had come on an HTTP/2 one.
    pub(crate) moved: u64,
}

type TlsVisitor = Visitor<UpstreamTlsStream<TcpStream>>;

#[derive(Debug)]
struct Crowd {
    goal: Goal,
    failed: Mutex<Visits>,
    old: Mutex<VecDeque<TlsVisitor>>,
    new: Mutex<Option<Arc<Http2>>>,
}

/// Every so many of a kind open a connection of their own.
const FRESH: u64 = 4;
const BODY: usize = 3_000;

impl Steady {
    /// So many a second.
    pub(crate) fn start(goal: Goal, per_second: u32) -> Self {
        let crowd =
            Arc::new(Crowd { goal, failed: Mutex::default(), old: Mutex::default(), new: Mutex::default() });
        let visitors = crowd.clone();
        Self { crowd, rate: Rate::start(per_second, move |number| visitors.clone().visit(number)) }
    }

    /// Waits until so many more were answered.
    pub(crate) async fn answers(&self, more: u64) -> Outcome {
        self.rate.answers(more).await
    }

    /// Lets no more come, waits for the answers of those who are there, and tells.
    pub(crate) async fn stop(self) -> Visits {
        let answered = self.rate.stop().await;
        let visits = std::mem::take(&mut *lock(&self.crowd.failed));
        Visits { answered, ..visits }
    }
}

/// What such visitors visit: answers GET with the path, and POST with the body it got.
pub(crate) async fn mirror() -> std::io::Result<Upstream> {
    Upstream::start(|mut stream| async move {
        // The visitor sees what went wrong by an answer that is missing.
        let _ = reflect(&mut stream).await;
    })
    .await
}

async fn reflect(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut seen = Vec::new();
    loop {
        let Some(end) = find_head_end(&seen) else {
            if stream.read_buf(&mut seen).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = String::from_utf8_lossy(&seen[..end]).into_owned();
        let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while seen.len() < end + length {
            if stream.read_buf(&mut seen).await? == 0 {
                return Ok(());
            }
        }
        let path = head.split(' ').nth(1).unwrap_or("").as_bytes().to_vec();
        let body = if length == 0 { path } else { seen[end..end + length].to_vec() };
        seen.drain(..end + length);
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        answer.extend(body);
        stream.write_all(&answer).await?;
    }
}

impl Crowd {
    async fn visit(self: Arc<Self>, number: u64) -> bool {
        let (posts, is_new, is_fresh) =
            (number % 2 == 1, number / 2 % 2 == 1, (number / 4).is_multiple_of(FRESH));
        let body = posts.then(|| format!("{number:0BODY$}"));
        let asking = async {
            if is_new {
                self.ask_new(number, body.as_deref(), is_fresh).await
            } else {
                self.ask_old(number, body.as_deref(), is_fresh).await
            }
        };
        let outcome = match tokio::time::timeout(PATIENCE, asking).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::new("no answer")),
        };
        let expected = body.unwrap_or(format!("/{number}"));
        let fault = match outcome {
            Ok((200, body)) if body == expected.as_bytes() => return true,
            Ok((status, body)) => format!("{status}: {:.120}", String::from_utf8_lossy(&body)),
            Err(fault) => fault.to_string(),
        };
        let version = if is_new { "HTTP/2" } else { "HTTP/1.1" };
        let fault = format!("visitor {number}, {version}, fresh {is_fresh}: {fault}");
        let mut failed = lock(&self.failed);
        if posts {
            failed.posts.push(fault);
        } else {
            failed.gets.push(fault);
        }
        false
    }

    async fn ask_old(&self, number: u64, body: Option<&str>, is_fresh: bool) -> Outcome<(u16, Vec<u8>)> {
        let kept = if is_fresh { None } else { lock(&self.old).pop_front() };
        let Goal { https, host, trusted } = &self.goal;
        let mut visitor = match kept {
            Some(visitor) => visitor,
            None => TlsVisitor::connect_tls(*https, host, trusted.as_bytes()).await?,
        };
        let request = match body {
            Some(body) => {
                format!(
                    "POST /{number} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            }
            None => format!("GET /{number} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        };
        visitor.send(request).await?;
        let answer = visitor.answer().await?;
        let closes =
            header(&answer.head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if answer.status == 200 && !is_fresh && !closes {
            lock(&self.old).push_back(visitor);
        }
        Ok((answer.status, answer.body))
    }

    async fn ask_new(&self, number: u64, body: Option<&str>, is_fresh: bool) -> Outcome<(u16, Vec<u8>)> {
        let Goal { host, .. } = &self.goal;
        let url = format!("https://{host}/{number}");
        loop {
            let visitor = self.new_visitor(is_fresh).await?;
            // With its length: the upstream here reads no chunks.
            let request = match body {
                Some(body) => Request::post(&url).header("content-length", body.len()),
                None => Request::get(&url),
            };
            let body = body.map(|body| Bytes::copy_from_slice(body.as_bytes()));
            match http2_ask(visitor.asking(), request.body(())?, body).await {
                Ok(answer) => return Ok((answer.status.as_u16(), answer.body)),
                Err(error) => {
                    self.leave(&visitor);
                    if !is_goodbye(&error) {
                        return Err(error.into());
                    }
                    lock(&self.failed).moved += 1;
                }
            }
        }
    }

    /// A connection of this visitor's own, or the one that visitors share.
    async fn new_visitor(&self, is_fresh: bool) -> Outcome<Arc<Http2>> {
        let kept = if is_fresh { None } else { lock(&self.new).clone() };
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let Goal { https, host, trusted } = &self.goal;
        let visitor = Arc::new(Http2::connect_tls(*https, host, trusted).await?);
        Ok(if is_fresh { visitor } else { lock(&self.new).get_or_insert(visitor).clone() })
    }

    /// Nobody shares this connection any more. Those who do, keep it open.
    fn leave(&self, left: &Arc<Http2>) {
        lock(&self.new).take_if(|kept| Arc::ptr_eq(kept, left));
    }
}

/// Whether the server had said that it takes no more on this connection when a request was about to be sent, or has said
/// that it didn't look at it (RFC 9113 §6.8): every program asks again then, on another connection.
fn is_goodbye(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
