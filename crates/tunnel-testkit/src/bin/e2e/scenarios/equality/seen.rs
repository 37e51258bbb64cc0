//! What a visitor saw of an answer, read from the bytes of HTTP/1 or from the frames of HTTP/2.

use std::future::poll_fn;

use bytes::Bytes;
use http::{HeaderMap, Request, Uri};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::Semaphore,
};
use tunnel_testkit::{find_head_end, header};

use super::{
    Way,
    cases::{Body, Case},
    service::LONG_AGO,
};
use crate::harness::{Http2, Outcome, check};

/// What a visitor saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Status codes before the last one, but for `100`, which a server may send of its own.
    pub(super) early: Vec<u16>,
    pub(super) status: u16,
    /// By name, in lower case; of one name in the order they came in.
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, String)>,
    /// Whether it broke off before its end.
    pub(super) is_cut: bool,
}

/// What a visitor sends over an upgraded connection and gets back.
const MESSAGE: &[u8] = b"any bytes, both ways";

/// Fields that concern one connection (docs/REFERENCE.md, "What visitors see").
const OF_A_CONNECTION: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "trailer", "transfer-encoding", "upgrade"];

impl Seen {
    /// In what this differs from what was seen `way`, in words, but for what is documented.
    pub(super) fn differences(&self, other: &Self, way: Way) -> Vec<String> {
        let is_new = matches!(way, Way::Http2 | Way::Http2Tls);
        let mut found = Vec::new();
        if self.is_cut && is_new {
            // A reset stream may take along bytes that came just before (RFC 9113 §6.4).
            let begins = other.status == self.status && self.body.starts_with(&other.body);
            found.extend((!other.is_cut || !begins).then(|| format!("{other:?}, not {self:?}")));
            return found;
        }
        let early = if is_new { self.early.clone() } else { Vec::new() };
        if early.contains(&103) && !other.early.contains(&103) {
            found.push(format!("early answers {:?}, not {early:?}", other.early));
        }
        // A WebSocket over HTTP/2 is there with 200 and has no handshake fields (RFC 8441).
        let switched = self.status == 101 && is_new;
        if other.status != (if switched { 200 } else { self.status }) {
            found.push(format!("status {}, not {}", other.status, self.status));
        }
        let fields = |seen: &Self| -> Vec<(String, String)> {
            let kept = seen.fields.iter().filter(|(name, _)| {
                !(OF_A_CONNECTION.contains(&name.as_str()) || switched && name == "sec-websocket-accept")
            });
            // Two answers may be of two seconds.
            let is_of_the_moment = |name: &str, value: &str| name == "date" && value != LONG_AGO;
            let timeless = kept.map(|(name, value)| match is_of_the_moment(name, value) {
                true => (name.clone(), "now".to_owned()),
                false => (name.clone(), value.clone()),
            });
            timeless.collect()
        };
        let (mine, its) = (fields(self), fields(other));
        for field in its.iter().filter(|field| !mine.contains(field)) {
            // Added where the service gives none (RFC 9110 §6.6.1).
            if field.0 != "date" || mine.iter().any(|(name, _)| name == "date") {
                found.push(format!("more: {field:.200?}"));
            }
        }
        for field in mine.iter().filter(|field| !its.contains(field)) {
            // Left out on HTTP/1, where it is worth little to a cache and more to who confuses readers.
            if self.status != 304 || field.0 != "content-length" {
                found.push(format!("less: {field:.200?}"));
            }
        }
        // Of one name, in the order they came in.
        let common = |fields: &[(String, String)], of: &[(String, String)]| -> Vec<(String, String)> {
            fields.iter().filter(|field| of.contains(field)).cloned().collect()
        };
        if common(&mine, &its) != common(&its, &mine) {
            found.push(format!("fields {its:?}, not {mine:?}"));
        }
        if other.body != self.body {
            let text = String::from_utf8_lossy(&other.body);
            let own = String::from_utf8_lossy(&self.body);
            found.push(format!("{} bytes `{text:.300}`, not {} `{own:.300}`", text.len(), own.len()));
        }
        if other.trailers != self.trailers {
            found.push(format!("trailers {:?}, not {:?}", other.trailers, self.trailers));
        }
        if other.is_cut != self.is_cut {
            found.push(format!("cut: {}, not {}", other.is_cut, self.is_cut));
        }
        found
    }
}

fn sorted(mut fields: Vec<(String, String)>) -> Vec<(String, String)> {
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn of_map(map: &HeaderMap) -> Vec<(String, String)> {
    sorted(map.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect())
}

fn of_lines(head: &str) -> Vec<(String, String)> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    sorted(fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect())
}

/// Asks by HTTP/1; adds to `progress` whenever something comes.
pub(super) async fn ask_old<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    host: &str,
    case: &Case,
    progress: &Semaphore,
) -> Outcome<Seen> {
    let mut reader = Reader { stream, unread: Vec::new(), progress };
    let version = if case.is_ancient { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut request = format!("{} {} {version}\r\nHost: {host}\r\n", case.method, case.target);
    for (name, value) in case.fields {
        request += &format!("{name}: {value}\r\n");
    }
    if case.upgrades {
        request +=
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    }
    match case.body {
        Body::None => request += "\r\n",
        Body::Length(body) => request += &format!("Content-Length: {}\r\n\r\n{body}", body.len()),
        Body::Pieces(pieces, trailer) => {
            request += "Transfer-Encoding: chunked\r\n\r\n";
            for piece in pieces {
                request += &format!("{:x}\r\n{piece}\r\n", piece.len());
            }
            request += "0\r\n";
            request += &trailer.map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
            request += "\r\n";
        }
    }
    reader.stream.write_all(request.as_bytes()).await?;
    let mut seen = Seen::default();
    let head = loop {
        let end = loop {
            match find_head_end(&reader.unread) {
                Some(end) => break end,
                None => check!(reader.more().await, "no answer, after {:?}", text(&reader.unread)),
            }
        };
        let head = text(&reader.unread.drain(..end).collect::<Vec<_>>());
        seen.status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        match seen.status {
            100 => {}
            102..200 => seen.early.push(seen.status),
            _ => break head,
        }
    };
    seen.fields = of_lines(&head);
    if seen.status == 101 {
        reader.stream.write_all(MESSAGE).await?;
        reader.stream.shutdown().await?;
        while reader.more().await {}
        seen.body = reader.unread;
    } else if case.method != "HEAD" && !matches!(seen.status, 204 | 304) {
        reader.body(&head, &mut seen).await;
    }
    Ok(seen)
}

struct Reader<'a, S> {
    stream: S,
    unread: Vec<u8>,
    progress: &'a Semaphore,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Reader<'_, S> {
    /// Whether more came; not at an end, whatever kind it is.
    async fn more(&mut self) -> bool {
        let came = self.stream.read_buf(&mut self.unread).await.is_ok_and(|length| length > 0);
        self.progress.add_permits(usize::from(came));
        came
    }

    async fn body(&mut self, head: &str, seen: &mut Seen) {
        if header(head, "transfer-encoding").is_some() {
            seen.is_cut = self.chunks(seen).await.is_none();
            return;
        }
        let length = header(head, "content-length").and_then(|length| length.parse::<usize>().ok());
        while length.is_none_or(|length| self.unread.len() < length) && self.more().await {}
        seen.body = std::mem::take(&mut self.unread);
        seen.is_cut = length.is_some_and(|length| seen.body.len() != length);
    }

    async fn chunks(&mut self, seen: &mut Seen) -> Option<()> {
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                break;
            }
            while self.unread.len() < size + 2 {
                self.more().await.then_some(())?;
            }
            seen.body.extend(self.unread.drain(..size));
            self.unread.drain(..2);
        }
        let mut trailers = String::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                seen.trailers = of_lines(&trailers);
                return Some(());
            }
            trailers += &format!("{line}\n");
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Some(text(&line[..end]));
            }
            self.more().await.then_some(())?;
        }
    }
}

/// Asks by HTTP/2; adds to `progress` whenever something comes.
pub(super) async fn ask_new(
    visitor: &Http2,
    scheme: &str,
    host: &str,
    case: &Case,
    progress: &Semaphore,
) -> Outcome<Seen> {
    let mut asking = visitor.asking();
    // The server says first whether it speaks RFC 8441.
    while case.upgrades && !asking.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    poll_fn(|cx| asking.poll_ready(cx)).await?;
    let method = if case.upgrades { "CONNECT" } else { case.method };
    let target = Uri::builder().scheme(scheme).authority(host).path_and_query(case.target).build()?;
    let mut request = Request::builder().method(method).uri(target);
    if case.upgrades {
        request = request.extension(h2::ext::Protocol::from_static("websocket"));
    }
    for (name, value) in case.fields {
        request = request.header(*name, *value);
    }
    if let Body::Length(body) = case.body {
        request = request.header("content-length", body.len());
    }
    let ends = matches!(case.body, Body::None) && !case.upgrades;
    let (mut answer, mut to) = asking.send_request(request.body(())?, ends)?;
    match case.body {
        Body::None => {}
        Body::Length(body) => to.send_data(Bytes::from_static(body.as_bytes()), true)?,
        Body::Pieces(pieces, trailer) => {
            for (number, piece) in pieces.iter().enumerate() {
                let is_last = number + 1 == pieces.len() && trailer.is_none();
                to.send_data(Bytes::from_static(piece.as_bytes()), is_last)?;
            }
            if let Some((name, value)) = trailer {
                to.send_trailers(HeaderMap::from_iter([(name.parse()?, value.parse()?)]))?;
            }
        }
    }
    let mut seen = Seen::default();
    while let Some(early) = poll_fn(|cx| answer.poll_informational(cx)).await {
        // What goes wrong here goes wrong with the answer, too.
        let Ok(early) = early else { break };
        let status = early.status().as_u16();
        seen.early.extend((status != 100).then_some(status));
    }
    let (head, mut from) = match answer.await {
        Ok(answer) => answer.into_parts(),
        Err(error) if error.is_reset() => return Ok(Seen { is_cut: true, ..seen }),
        Err(error) => return Err(error.into()),
    };
    (seen.status, seen.fields) = (head.status.as_u16(), of_map(&head.headers));
    if case.upgrades && seen.status == 200 {
        to.send_data(Bytes::from_static(MESSAGE), true)?;
    }
    while let Some(data) = from.data().await {
        let Ok(data) = data else {
            seen.is_cut = true;
            return Ok(seen);
        };
        from.flow_control().release_capacity(data.len())?;
        seen.body.extend_from_slice(&data);
        progress.add_permits(1);
    }
    match from.trailers().await {
        Ok(trailers) => seen.trailers = trailers.as_ref().map(of_map).unwrap_or_default(),
        Err(_) => seen.is_cut = true,
    }
    Ok(seen)
}
