//! One record for each visitor's exchange that is over: for access logs and for whoever watches requests live.
//!
//! A record is written while the exchange goes on, by whoever has a part in it: each holds the [`Draft`], and the last
//! to let go of it sends it off. So a record comes also of what broke off, wherever that was. While nobody listens,
//! there are no drafts, and all of this costs one look at a counter.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{sync::broadcast, time::Instant};
use tunnel_io::Meter;
use tunnel_protocol::{Code, RequestId, TokenId};

use crate::{
    endpoint::Endpoint,
    rights::TunnelKind,
    settings::Settings,
    trace::{Parent, Trace},
};

/// How many records a slow listener may lag behind before it misses some.
const BACKLOG: usize = 4096;

/// The most of a path, or of a field, that goes into a record, in bytes.
const TEXT: usize = 2048;

/// One visitor's exchange, after its end.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestRecord {
    /// What logs, pages and the upstream's `X-Request-Id` call it.
    pub id: RequestId,
    /// When it began.
    pub started: SystemTime,
    /// The tunnel's public address; `None` if there was none for it.
    pub tunnel: Option<String>,
    /// Whose tunnel it was.
    pub token: Option<TokenId>,
    /// What kind of visitor it was.
    pub kind: TunnelKind,
    /// The visitor: that of the connection, or who it is by the word of a trusted proxy; the port is 0 then.
    pub visitor: SocketAddr,
    /// What a web request said, if it could be read.
    pub request: Option<RequestLine>,
    /// Whether it became a stream of bytes, as WebSockets do.
    pub is_upgraded: bool,
    /// The status of the answer; `None` for what has none, and if the visitor was gone before there was one.
    pub status: Option<u16>,
    /// The reason's name if we refused, or answered in the upstream's stead.
    pub code: Option<&'static str>,
    /// Bytes from the visitor: of a web request its body, and what came after an upgrade.
    pub bytes_in: u64,
    /// Bytes to the visitor, counted like those from it.
    pub bytes_out: u64,
    /// How long it waited for a client and for a stream to it; `None` if it never got one.
    pub queued: Option<Duration>,
    /// How long it took to the first byte of the upstream's answer; `None` if there was none.
    pub first_byte: Option<Duration>,
    /// How long it took in all.
    pub total: Duration,
    /// Whether it ended as it should, and wasn't cut off by anybody.
    pub is_whole: bool,
    /// Its place in a trace, if it is traced.
    pub trace: Option<Trace>,
}

/// What a web request said. All of it is a stranger's word: escape it wherever it is shown. Each text is cut to 2 KiB.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestLine {
    /// `HTTP/1.1`, say.
    pub version: &'static str,
    /// The method.
    pub method: String,
    /// The host asked for.
    pub host: String,
    /// The path, with its query.
    pub path: String,
    /// What the visitor calls itself, if [`ServerHandle::requests_in_full`](crate::ServerHandle::requests_in_full) was
    /// asked for.
    pub user_agent: Option<String>,
    /// Where it says to come from, likewise.
    pub referer: Option<String>,
    /// Whether it came over TLS, to us or by the word of a trusted proxy to that.
    pub is_secure: bool,
}

/// The sending end, shared by all parts of a server.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    sender: broadcast::Sender<Arc<RequestRecord>>,
    settings: Settings,
    is_full: Arc<AtomicBool>,
}

/// A record in the making. Sent when it is dropped.
#[derive(Debug)]
pub(crate) struct Draft {
    records: Records,
    id: RequestId,
    trace: Option<Trace>,
    started: SystemTime,
    began: Instant,
    kind: TunnelKind,
    visitor: SocketAddr,
    request: Option<RequestLine>,
    tunnel: OnceLock<Arc<Endpoint>>,
    is_upgraded: AtomicBool,
    status: OnceLock<u16>,
    code: OnceLock<&'static str>,
    meter: Meter,
    queued: OnceLock<Duration>,
    first_byte: OnceLock<Duration>,
    total: OnceLock<Duration>,
    is_whole: AtomicBool,
}

/// A draft, if anybody listens.
pub(crate) type Drafted = Option<Arc<Draft>>;

impl Records {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG), settings, is_full: Arc::default() }
    }

    /// Records from now on, with or without the fields that cost most and tell most of a visitor.
    pub(crate) fn subscribe(&self, in_full: bool) -> broadcast::Receiver<Arc<RequestRecord>> {
        if in_full {
            self.is_full.store(true, Ordering::Relaxed);
        }
        self.sender.subscribe()
    }

    /// Begins a record, if anybody listens. `parent` is what the visitor says that it is a part of.
    pub(crate) fn draft(
        &self,
        id: RequestId,
        kind: TunnelKind,
        visitor: SocketAddr,
        parent: impl FnOnce() -> Option<Parent>,
    ) -> Option<Draft> {
        (self.sender.receiver_count() > 0).then(|| Draft {
            records: self.clone(),
            id,
            trace: Trace::begin(&self.settings.now(), id, parent),
            started: SystemTime::now(),
            began: Instant::now(),
            kind,
            visitor,
            request: None,
            tunnel: OnceLock::new(),
            is_upgraded: AtomicBool::new(false),
            status: OnceLock::new(),
            code: OnceLock::new(),
            meter: Meter::new(),
            queued: OnceLock::new(),
            first_byte: OnceLock::new(),
            total: OnceLock::new(),
            is_whole: AtomicBool::new(false),
        })
    }

    /// Whether a listener asked for everything.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }
}

impl Draft {
    /// Notes what a web request said.
    pub(crate) fn with_request(mut self, request: RequestLine) -> Self {
        self.request = Some(request);
        self
    }

    /// Its place in a trace, if it is traced.
    pub(crate) fn trace(&self) -> Option<Trace> {
        self.trace
    }

    /// Notes which tunnel it is for.
    pub(crate) fn at(&self, endpoint: &Arc<Endpoint>) {
        self.tunnel.get_or_init(|| endpoint.clone());
    }

    /// A stream to a client is there.
    pub(crate) fn set_queued(&self) {
        self.queued.get_or_init(|| self.began.elapsed());
    }

    /// The upstream has begun to answer.
    pub(crate) fn set_first_byte(&self, at: Instant) {
        self.first_byte.get_or_init(|| at.saturating_duration_since(self.began));
    }

    pub(crate) fn set_status(&self, status: u16) {
        self.status.get_or_init(|| status);
    }

    /// We refused, or answered in the upstream's stead.
    pub(crate) fn set_code(&self, code: Code) {
        self.code.get_or_init(|| code.name());
    }

    pub(crate) fn set_upgraded(&self) {
        self.is_upgraded.store(true, Ordering::Relaxed);
    }

    /// Whether it goes on as a stream of bytes.
    pub(crate) fn is_upgraded(&self) -> bool {
        self.is_upgraded.load(Ordering::Relaxed)
    }

    /// What the visitor says is sent from its begin, perhaps once more: it is counted from there.
    pub(crate) fn begin_in(&self) {
        self.meter.reset_a_to_b();
    }

    /// Counts bytes from the visitor.
    pub(crate) fn add_in(&self, bytes: usize) {
        self.meter.add_a_to_b(bytes as u64);
    }

    /// Counts bytes to the visitor.
    pub(crate) fn add_out(&self, bytes: usize) {
        self.meter.add_b_to_a(bytes as u64);
    }

    /// For a relay from the visitor to the upstream to count in.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// It is over, whoever may still hold the draft.
    pub(crate) fn end(&self, is_whole: bool) {
        self.total.get_or_init(|| {
            self.is_whole.store(is_whole, Ordering::Relaxed);
            self.began.elapsed()
        });
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let tunnel = self.tunnel.get();
        let record = RequestRecord {
            id: self.id,
            started: self.started,
            tunnel: tunnel.map(|tunnel| tunnel.address.url().to_owned()),
            token: tunnel.map(|tunnel| tunnel.owner.token),
            kind: self.kind,
            visitor: self.visitor,
            request: self.request.take(),
            is_upgraded: *self.is_upgraded.get_mut(),
            status: self.status.get().copied(),
            code: self.code.get().copied(),
            bytes_in: self.meter.a_to_b(),
            bytes_out: self.meter.b_to_a(),
            queued: self.queued.get().copied(),
            first_byte: self.first_byte.get().copied(),
            total: self.total.get().copied().unwrap_or_else(|| self.began.elapsed()),
            is_whole: *self.is_whole.get_mut(),
            trace: self.trace,
        };
        // Nobody listens any more: no error.
        let _ = self.records.sender.send(Arc::new(record));
    }
}

impl RequestRecord {
    /// A record of which nothing is known yet but these: for tests of whatever takes records.
    pub fn new(id: RequestId, kind: TunnelKind, visitor: SocketAddr, started: SystemTime) -> Self {
        Self {
            id,
            started,
            tunnel: None,
            token: None,
            kind,
            visitor,
            request: None,
            is_upgraded: false,
            status: None,
            code: None,
            bytes_in: 0,
            bytes_out: 0,
            queued: None,
            first_byte: None,
            total: Duration::ZERO,
            is_whole: false,
            trace: None,
        }
    }
}

impl RequestLine {
    /// What a request said, each text cut to 2 KiB.
    pub fn new(version: &'static str, method: &str, host: &str, path: &str) -> Self {
        Self {
            version,
            method: cut(method),
            host: cut(host),
            path: cut(path),
            user_agent: None,
            referer: None,
            is_secure: false,
        }
    }

    /// Notes whether it came over TLS.
    pub(crate) fn over_tls(self, is_secure: bool) -> Self {
        Self { is_secure, ..self }
    }

    /// Adds what only some want to know.
    pub(crate) fn in_full(self, user_agent: Option<&[u8]>, referer: Option<&[u8]>) -> Self {
        let text = |bytes: &[u8]| cut(&String::from_utf8_lossy(bytes));
        Self { user_agent: user_agent.map(text), referer: referer.map(text), ..self }
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT)].to_owned()
}
