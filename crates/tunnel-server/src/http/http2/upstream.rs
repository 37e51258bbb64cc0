//! HTTP/2 towards an upstream, on a stream of its own for each exchange.
//!
//! One stream carries one exchange at a time, as it does with HTTP/1: exchanges that shared a connection would share
//! its flow control, and one visitor that doesn't read would hold up the others.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use ::h2::{Reason, client};
use ::http::{HeaderMap, Request, Response, StatusCode, Uri, header::HOST, uri::Scheme};
use bytes::Bytes;
use http_body::Body;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    super::{
        body::Inbound,
        http1,
        link::{MOST_INTERIM, UpstreamIo},
        pool,
        upload::Upload,
    },
    body::Streamed,
    purse::{Flood, UpstreamTalk},
    send::{SendError, pump, strip},
};
use crate::{dispatch::DispatchError, shared::Shared, target::Target};

/// How much of an answer is taken in ahead of the visitor, in bytes: enough for 10 MB/s to a client that is 50 ms
/// away.
const WINDOW: u32 = 512 * 1024;

/// How much of a request is handed to `h2` ahead of the stream, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// The most an answer's head may have, decoded, in bytes: as on HTTP/1.
const HEAD: u32 = 64 * 1024;

/// How long a connection may take to say goodbye after an exchange that was broken off, so that the upstream hears
/// of a cancelled request and not of a lost connection.
const FAREWELL: Duration = Duration::from_secs(5);

/// The kind of a `SETTINGS` frame, with which HTTP/2 begins (RFC 9113 §3.4).
const SETTINGS: u8 = 4;

/// A connection to an upstream, between its exchanges.
#[derive(Debug)]
pub(in crate::http) struct Asking {
    sender: client::SendRequest<Bytes>,
    broken: Broken,
    /// Cancelled when the connection has ended.
    ended: CancellationToken,
    /// Cancelled when the exchange under way is given up.
    cut: CancellationToken,
    tasks: TaskTracker,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::http) enum AskError {
    #[error(transparent)]
    Http1(http1::upstream::AskError),
    #[error(transparent)]
    Http2(#[from] ::h2::Error),
    /// The first thing it said isn't HTTP/2.
    #[error("its first words are not HTTP/2, which `--upstream-protocol` says it speaks")]
    NotHttp2,
    #[error("it gave over {MOST_INTERIM} interim answers (1xx), and no other")]
    Interim,
    #[error("it sends {0}")]
    Flood(Flood),
    #[error(transparent)]
    Dispatch(DispatchError),
}

/// An answer that isn't there, and whether the upstream may have acted on the request.
#[derive(Debug)]
pub(in crate::http) struct Unanswered {
    pub(in crate::http) error: AskError,
    pub(in crate::http) is_unsent: bool,
}

impl AskError {
    /// Whether the upstream said that it ends the exchange or the connection, as only HTTP/2 can.
    pub(in crate::http) fn is_said(&self) -> bool {
        matches!(self, Self::Http2(error) if error.is_reset() || error.is_go_away())
    }
}

impl Asking {
    /// Begins a connection. Its bytes are moved by a task of the server's, until `cut` at the latest.
    pub(in crate::http) async fn begin(
        shared: &Shared,
        io: UpstreamIo,
        cut: CancellationToken,
        target: Arc<Target>,
    ) -> Result<Self, ::h2::Error> {
        let broken = Broken::default();
        let probe = Probe { io, broken: broken.clone(), seen: 0, talk: UpstreamTalk::new() };
        let (sender, connection) = client::Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(HEAD)
            .handshake(probe)
            .await?;
        let ended = CancellationToken::new();
        let moving = drive(connection, cut.clone(), shared.clone(), target, ended.clone());
        shared.visitors.spawn(moving);
        Ok(Self { sender, broken, ended, cut, tasks: shared.visitors.clone() })
    }

    pub(in crate::http) fn is_closed(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Sends a request and waits for the head of its answer; hears what comes earlier meanwhile. The body goes on
    /// its way beside it, until `cut`.
    pub(in crate::http) async fn ask(
        &mut self,
        request: Request<Upload>,
        early: impl Fn(StatusCode, &HeaderMap),
    ) -> Result<Response<Inbound>, Unanswered> {
        let unsent = |this: &Self, error| {
            let error = this.blame(error);
            // Who was faster than we were to say no says it again when asked again.
            let is_no = matches!(
                error,
                AskError::NotHttp2 | AskError::Dispatch(DispatchError::Refused(_) | DispatchError::Late(_))
            );
            Unanswered { error, is_unsent: !is_no }
        };
        poll_fn(|cx| self.sender.poll_ready(cx)).await.map_err(|error| unsent(self, error))?;
        let (mut head, mut upload) = request.into_parts();
        head.uri = absolute(&head.uri, &mut head.headers);
        strip(&mut head.headers);
        let is_over = upload.is_end_stream();
        let sent = self.sender.send_request(Request::from_parts(head, ()), is_over);
        let (mut answer, mut to) = sent.map_err(|error| unsent(self, error))?;
        if !is_over {
            let cut = self.cut.clone();
            self.tasks.spawn(async move {
                let sent = tokio::select! {
                    biased;
                    () = cut.cancelled() => return,
                    sent = pump(&mut upload, &mut to, None) => sent,
                };
                if let Err(SendError::Body(reason)) = sent {
                    to.send_reset(reason.unwrap_or(Reason::CANCEL));
                }
            });
        }
        let mut interim = 0;
        let answered = poll_fn(|cx| {
            while let Poll::Ready(Some(Ok(said))) = answer.poll_informational(cx) {
                interim += 1;
                if interim > MOST_INTERIM {
                    return Poll::Ready(None);
                }
                early(said.status(), said.headers());
            }
            Pin::new(&mut answer).poll(cx).map(Some)
        });
        let Some(answered) = answered.await else {
            return Err(Unanswered { error: AskError::Interim, is_unsent: false });
        };
        match answered {
            Ok(response) => Ok(response.map(|stream| Inbound::Http2(Streamed::new(stream, None)))),
            Err(error) => {
                // Of a stream above the last it names, a GOAWAY says that nobody looked at it (RFC 9113 §6.8).
                let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
                let is_unsent = error.is_remote() && (error.is_go_away() || is_refused);
                Err(Unanswered { error: self.blame(error), is_unsent })
            }
        }
    }

    fn blame(&self, error: ::h2::Error) -> AskError {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(AskError::Http2(error))
    }
}

/// Moves the bytes of one connection until it ends, and looks after its client's idle ones meanwhile.
async fn drive(
    connection: client::Connection<Probe, Bytes>,
    cut: CancellationToken,
    shared: Shared,
    target: Arc<Target>,
    ended: CancellationToken,
) {
    let _ended = ended.drop_guard();
    let mut connection = pin!(connection);
    let mut crowded = target.session.crowded.subscribe();
    target.pool.note_refused(*crowded.borrow());
    let (mut cut, mut drained) = (pin!(cut.cancelled()), pin!(shared.draining.cancelled()));
    let mut is_drained = false;
    loop {
        tokio::select! {
            biased;
            () = shared.stopping.cancelled() => return,
            () = &mut cut => break,
            // The exchange under way hears of errors itself.
            _ended = &mut connection => return,
            () = &mut drained, if !is_drained => {
                is_drained = true;
                target.pool.close();
            }
            Ok(()) = crowded.changed() => target.pool.make_room(*crowded.borrow_and_update()),
            () = sleep(pool::IDLE) => target.pool.sweep(),
        }
    }
    tokio::select! {
        biased;
        () = shared.stopping.cancelled() => {}
        _gone = timeout(FAREWELL, connection) => {}
    }
}

/// The target with the host in it: HTTP/2 has no `Host`. The scheme is that of the hop, which is no business of the
/// upstream's; `X-Forwarded-Proto` says what the visitor used.
fn absolute(origin: &Uri, headers: &mut HeaderMap) -> Uri {
    let mut parts = origin.clone().into_parts();
    let authority = headers.remove(HOST).and_then(|host| host.as_bytes().try_into().ok());
    if authority.is_some() {
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = authority;
    }
    Uri::from_parts(parts).unwrap_or_else(|_| origin.clone())
}

type Broken = Arc<Mutex<Option<AskError>>>;

/// The stream as `h2` sees it, which keeps of an error no more than its text. So the first one is kept here; and an
/// upstream that answers in another protocol is told from one that breaks its own, or floods us in it.
#[derive(Debug)]
struct Probe {
    io: UpstreamIo,
    broken: Broken,
    /// How many of the first bytes have been looked at.
    seen: usize,
    talk: UpstreamTalk,
}

impl Probe {
    fn judge(&mut self, new: &[u8]) -> io::Result<()> {
        if self.seen > 3 {
            return self.hear(new);
        }
        let kind = new.get(3 - self.seen);
        self.seen += new.len();
        let speaks = if new.is_empty() { false } else { kind.is_none_or(|kind| *kind == SETTINGS) };
        if speaks {
            return self.hear(new);
        }
        self.keep(AskError::NotHttp2);
        Err(io::ErrorKind::InvalidData.into())
    }

    fn hear(&mut self, new: &[u8]) -> io::Result<()> {
        self.talk.hear(new).map_err(|flood| {
            self.keep(AskError::Flood(flood));
            io::Error::other(flood)
        })
    }

    fn keep(&self, error: AskError) {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

impl AsyncRead for Probe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let start = buf.filled().len();
        if let Err(error) = ready!(Pin::new(&mut self.io).poll_read(cx, buf)) {
            self.keep(AskError::Dispatch(DispatchError::from(&error)));
            return Poll::Ready(Err(error));
        }
        Poll::Ready(self.judge(&buf.filled()[start..]))
    }
}

impl AsyncWrite for Probe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.talk.say(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
