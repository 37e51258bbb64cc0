//! A record as a line. Whatever a stranger said is made harmless here: no line can be ended, no field closed, and
//! nothing that a terminal would obey gets in.

use std::{
    fmt::{self, Display, Write as _},
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value, json};
use tunnel_server::{RequestRecord, TunnelKind};

use crate::args::AccessFormat;

/// What nginx has for a visitor that was gone before there was an answer; no answer ever has it.
const GONE: u16 = 499;

impl AccessFormat {
    /// Whether it says what visitors call themselves and where they come from.
    pub(super) fn is_in_full(self) -> bool {
        self != Self::Common
    }

    /// Appends a record's line.
    pub(super) fn write(self, record: &RequestRecord, to: &mut Vec<u8>) {
        let line = match self {
            Self::Common | Self::Combined => common(record, self == Self::Combined),
            Self::Json => ascii(&json(record).to_string()),
        };
        to.extend_from_slice(line.as_bytes());
        to.push(b'\n');
    }
}

fn common(record: &RequestRecord, is_combined: bool) -> String {
    let tunnel = record.tunnel.as_deref().unwrap_or("-");
    let request = match &record.request {
        Some(request) => format!("{} {} {}", request.method, request.path, request.version),
        None if record.kind == TunnelKind::Http => "-".into(),
        None => format!("{} {tunnel}", record.kind.name().to_ascii_uppercase()),
    };
    let status = match (record.status, record.kind) {
        (Some(status), _) => status.to_string(),
        (None, TunnelKind::Http) => GONE.to_string(),
        (None, _) => "-".into(),
    };
    let mut line = format!(
        "{} - - [{}] \"{}\" {status} {}",
        record.visitor.ip(),
        Clock(record.started),
        quoted(&request),
        record.bytes_out
    );
    if is_combined {
        let request = record.request.as_ref();
        let said = |text: Option<&String>| text.map_or_else(|| "-".into(), |text| quoted(text));
        let referer = said(request.and_then(|request| request.referer.as_ref()));
        let agent = said(request.and_then(|request| request.user_agent.as_ref()));
        let _ = write!(line, " \"{referer}\" \"{agent}\"");
    }
    let _ = write!(
        line,
        " id={} host=\"{}\" tunnel=\"{}\" code={} in={} queue={} first={} total={} whole={}",
        record.id,
        quoted(record.request.as_ref().map_or("-", |request| &request.host)),
        quoted(tunnel),
        record.code.unwrap_or("-"),
        record.bytes_in,
        Seconds(record.queued),
        Seconds(record.first_byte),
        Seconds(Some(record.total)),
        if record.is_whole { "yes" } else { "no" }
    );
    line
}

fn json(record: &RequestRecord) -> Value {
    let ms = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64() * 1e3);
    let mut line = json!({
        "time": humantime::format_rfc3339_millis(record.started).to_string(),
        "id": record.id.to_string(),
        "kind": record.kind.name(),
        "tunnel": record.tunnel,
        "visitor": record.visitor.ip().to_string(),
        "visitor_port": record.visitor.port(),
        "status": record.status,
        "code": record.code,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "queue_ms": ms(record.queued),
        "first_byte_ms": ms(record.first_byte),
        "total_ms": ms(Some(record.total)),
        "upgraded": record.is_upgraded,
        "whole": record.is_whole,
    });
    if let (Some(trace), Some(line)) = (record.trace, line.as_object_mut()) {
        put(line, "trace_id", &format!("{:032x}", trace.id));
    }
    if let (Some(request), Some(line)) = (&record.request, line.as_object_mut()) {
        let mut put = |name: &str, value: &str| put(line, name, value);
        put("version", request.version);
        put("method", &request.method);
        put("host", &request.host);
        put("path", &request.path);
        request.user_agent.iter().for_each(|agent| put("user_agent", agent));
        request.referer.iter().for_each(|referer| put("referer", referer));
    }
    line
}

fn put(object: &mut Map<String, Value>, name: &str, value: &str) {
    object.insert(name.into(), value.into());
}

/// JSON in ASCII: outside of texts there is nothing else, and inside it can be written so.
fn ascii(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() && !character.is_ascii_control() {
            line.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        }
    }
    line
}

/// What may stand between quotes: printable ASCII; other bytes as Apache writes them, `\x1b`.
fn quoted(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => line.extend(['\\', char::from(byte)]),
            b' '..=b'~' => line.push(char::from(byte)),
            _ => _ = write!(line, "\\x{byte:02x}"),
        }
    }
    line
}

/// A time as in Apache's log: `10/Oct/2000:13:55:36 +0000`.
struct Clock(SystemTime);

impl Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        // 2000-10-10T13:55:36Z
        let time = humantime::format_rfc3339_seconds(self.0).to_string();
        let month = time.get(5..7).and_then(|month| month.parse::<usize>().ok()).unwrap_or(1);
        let part = |range| time.get(range).unwrap_or_default();
        let month = MONTHS.get(month.wrapping_sub(1)).unwrap_or(&"Jan");
        write!(f, "{}/{month}/{}:{} +0000", part(8..10), part(0..4), part(11..19))
    }
}

/// Seconds with microseconds, as nginx's durations are in seconds.
struct Seconds(Option<Duration>);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(duration) => write!(f, "{:.6}", duration.as_secs_f64()),
            None => f.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests;
