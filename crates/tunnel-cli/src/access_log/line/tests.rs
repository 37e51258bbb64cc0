//! What a line looks like, whatever a stranger put into it.

use std::time::UNIX_EPOCH;

use tunnel_server::{RequestId, RequestLine, Trace};

use super::*;

fn record() -> RequestRecord {
    let started = UNIX_EPOCH + Duration::from_millis(971_186_136_250);
    let mut record =
        RequestRecord::new(RequestId(10), TunnelKind::Http, "192.0.2.1:5".parse().unwrap(), started);
    record.tunnel = Some("http://app.test".into());
    let mut request = RequestLine::new("HTTP/1.1", "GET", "app.test", "/a?b=\"c\"");
    request.user_agent = Some("curl/8 \u{1b}[31m\n\u{202e}".into());
    record.request = Some(request);
    record.status = Some(200);
    (record.bytes_in, record.bytes_out) = (1, 2326);
    record.queued = Some(Duration::from_micros(150));
    record.first_byte = Some(Duration::from_millis(2));
    record.total = Duration::from_secs(3);
    record.is_whole = true;
    record
}

fn line(format: AccessFormat, record: &RequestRecord) -> String {
    let mut bytes = Vec::new();
    format.write(record, &mut bytes);
    let line = String::from_utf8(bytes).unwrap();
    assert!(line.ends_with('\n') && line.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "{line:?}");
    assert_eq!(line.lines().count(), 1, "{line:?}");
    line.trim_end().into()
}

#[test]
fn the_forms_are_the_ones_that_programs_know() {
    let start = "192.0.2.1 - - [10/Oct/2000:13:55:36 +0000] \"GET /a?b=\\\"c\\\" HTTP/1.1\" 200 2326";
    let end = " id=0000000000000000000000000000000a host=\"app.test\" tunnel=\"http://app.test\" code=- in=1 \
               queue=0.000150 first=0.002000 total=3.000000 whole=yes";
    assert_eq!(line(AccessFormat::Common, &record()), format!("{start}{end}"));
    let said = " \"-\" \"curl/8 \\x1b[31m\\x0a\\xe2\\x80\\xae\"";
    assert_eq!(line(AccessFormat::Combined, &record()), format!("{start}{said}{end}"));
    let json: Value = serde_json::from_str(&line(AccessFormat::Json, &record())).unwrap();
    assert_eq!(json["user_agent"], "curl/8 \u{1b}[31m\n\u{202e}", "escaped and not lost");
    assert_eq!((&json["time"], &json["path"]), (&json!("2000-10-10T13:55:36.250Z"), &json!("/a?b=\"c\"")));
    assert_eq!((&json["queue_ms"], &json["total_ms"]), (&json!(0.15), &json!(3000.0)));
    assert_eq!((&json["referer"], &json["code"]), (&Value::Null, &Value::Null));
    assert_eq!(json["trace_id"], Value::Null);
    let mut traced = record();
    traced.trace = Some(Trace::new(0xab, 1, None));
    let json: Value = serde_json::from_str(&line(AccessFormat::Json, &traced)).unwrap();
    assert_eq!(json["trace_id"], "000000000000000000000000000000ab");
}

#[test]
fn what_has_no_request_or_no_answer_has_a_line_too() {
    let mut gone = record();
    (gone.status, gone.is_whole, gone.first_byte) = (None, false, None);
    assert!(line(AccessFormat::Common, &gone).contains("HTTP/1.1\" 499 2326 "));
    gone.request = None;
    assert!(line(AccessFormat::Common, &gone).contains("] \"-\" 499 "));
    let mut tcp =
        RequestRecord::new(RequestId(1), TunnelKind::Tcp, "[2001:db8::1]:5".parse().unwrap(), UNIX_EPOCH);
    tcp.tunnel = Some("tcp://test:20000".into());
    tcp.code = Some("upstream-refused");
    let line = line(AccessFormat::Common, &tcp);
    let start = "2001:db8::1 - - [01/Jan/1970:00:00:00 +0000] \"TCP tcp://test:20000\" - 0 id=";
    assert!(line.starts_with(start) && line.contains(" code=upstream-refused in=0 queue=- "), "{line}");
}
