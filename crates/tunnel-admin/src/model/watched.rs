//! What was seen lately: requests and visitors.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use tunnel_server::RequestRecord;

use crate::stamp::Stamp;

/// Requests that ended lately.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestList {
    /// Since when requests are noted: since somebody looks.
    pub since: Stamp,
    /// These, in the order they ended.
    pub requests: Vec<Request>,
}

/// One request, connection or flow that ended. What it says is a stranger's word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// What logs, pages and the upstream's `X-Request-Id` call it.
    pub id: String,
    /// When it began.
    pub at: Stamp,
    /// The tunnel's address; none if there was none for it.
    pub tunnel: Option<String>,
    /// `http`, `tls`, `tcp` or `udp`.
    pub kind: String,
    /// The visitor's address.
    pub visitor: IpAddr,
    /// The protocol's version, of a web request.
    pub version: Option<String>,
    /// The method, of a web request.
    pub method: Option<String>,
    /// The host asked for, of a web request.
    pub host: Option<String>,
    /// The path with its query, of a web request.
    pub path: Option<String>,
    /// The answer's status.
    pub status: Option<u16>,
    /// The reason, if we refused or answered in the upstream's stead.
    pub code: Option<String>,
    /// Bytes from the visitor.
    pub bytes_in: u64,
    /// Bytes to the visitor.
    pub bytes_out: u64,
    /// How long it waited for a client, in milliseconds.
    pub queued_ms: Option<f64>,
    /// How long it took to the first byte of the answer.
    pub first_byte_ms: Option<f64>,
    /// How long it took in all.
    pub total_ms: f64,
    /// Whether it became a stream of bytes, as WebSockets do.
    pub upgraded: bool,
    /// Whether it ended as it should, and wasn't cut off.
    pub whole: bool,
}

/// Visitors that were here lately.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VisitorList {
    /// Since when visitors are noted: since somebody looks.
    pub since: Stamp,
    /// These, the latest first; 500 at most.
    pub visitors: Vec<Visitor>,
}

/// One visitor address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Visitor {
    /// The address.
    pub address: IpAddr,
    /// Its requests, connections and flows that ended.
    pub requests: u64,
    /// How many of them were refused, or failed.
    pub failed: u64,
    /// Bytes from it.
    pub bytes_in: u64,
    /// Bytes to it.
    pub bytes_out: u64,
    /// When it was last here.
    pub last_seen: Stamp,
    /// The tunnel it was last at.
    pub last_tunnel: Option<String>,
}

impl From<&RequestRecord> for Request {
    fn from(record: &RequestRecord) -> Self {
        let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
        let line = record.request.as_ref();
        Self {
            id: record.id.to_string(),
            at: Stamp(record.started),
            tunnel: record.tunnel.clone(),
            kind: record.kind.name().to_owned(),
            visitor: SocketAddr::ip(&record.visitor),
            version: line.map(|line| line.version.to_owned()),
            method: line.map(|line| line.method.clone()),
            host: line.map(|line| line.host.clone()),
            path: line.map(|line| line.path.clone()),
            status: record.status,
            code: record.code.map(str::to_owned),
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            queued_ms: record.queued.map(ms),
            first_byte_ms: record.first_byte.map(ms),
            total_ms: ms(record.total),
            upgraded: record.is_upgraded,
            whole: record.is_whole,
        }
    }
}

impl Visitor {
    pub(crate) fn new(address: IpAddr) -> Self {
        Self {
            address,
            requests: 0,
            failed: 0,
            bytes_in: 0,
            bytes_out: 0,
            last_seen: Stamp(std::time::UNIX_EPOCH),
            last_tunnel: None,
        }
    }

    pub(crate) fn take(&mut self, record: &RequestRecord) {
        self.requests += 1;
        let is_failed = record.code.is_some() || record.status.is_some_and(|status| status >= 500);
        self.failed += u64::from(is_failed);
        self.bytes_in += record.bytes_in;
        self.bytes_out += record.bytes_out;
        self.last_seen = self.last_seen.max(Stamp(record.started + record.total));
        self.last_tunnel.clone_from(&record.tunnel);
    }
}
