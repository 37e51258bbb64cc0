//! A client's story for scripts: `--output json`, one object a line on standard output.
//!
//! Every object has `event` and `time` (RFC 3339, UTC), and those of `tunnel start` about a tunnel its `name`. Fields may be added; unknown events should be skipped.
//!
//! | event | fields | |
//! |---|---|---|
//! | `connected` | `session`, `server`, `account` | logged in |
//! | `online` | `tunnel`, `url`, `upstream` | visitors can come; again after every reconnect |
//! | `reconnecting` | `reason`, `retry_in_ms`, `held_ms` | no session; `held_ms` is null before the first one |
//! | `refused` | `tunnel`, `code`, `message`, `retry_in_ms` | no tunnel; `retry_in_ms` is null if it is over |
//! | `unbound` | `tunnel`, `code`, `message`, `retry_in_ms` | the server took the tunnel down; the same |
//! | `moving` | `code`, `message` | the server is about to go; a new session is being made |
//! | `draining` | | the client is stopping |
//! | `lanes` | `lanes` | connections to the server now |
//! | `notice` | `message` | the server says something |
//! | `upstream-failed` | `tunnel`, `upstream`, `code`, `message` | a visitor came, and the upstream was not there |
//! | `hint` | `tunnel`, `message` | why visitors see errors, and what helps; once |
//! | `request` | `tunnel`, `request`, `visitor`, `method`, `path`, `status`, `duration_ms`, `dropped` | with `-v`; `hint` as well if there is one |
//! | `rtt` | `rtt_ms` | with `-v`: a heartbeat came back |
//! | `reloaded` | `added`, `changed`, `removed`, `needs_restart`, `error` | the settings were read again |
//! | `missed` | `count` | events came faster than they were read |
//! | `closed` | `status`, `code`, `reason` | the last line; `status` is the exit status, `reason` null if it is 0 |

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use tunnel_client::{Event, Refusal};

use super::{At, Ending, Subject};

/// The story so far.
#[derive(Debug)]
pub(crate) struct Json {
    subject: Subject,
    refused: bool,
    /// The hint told last: each visitor causes it.
    hint: Option<String>,
}

impl Json {
    pub(super) fn new(subject: Subject) -> Self {
        Self { subject, refused: false, hint: None }
    }

    pub(super) fn tell(&mut self, event: &Event, at: At) -> Option<String> {
        let (name, fields) = match event {
            Event::Connected { session, server, account } => {
                ("connected", json!({ "session": session, "server": server, "account": account }))
            }
            Event::Online { tunnel, url } => {
                ("online", json!({ "tunnel": tunnel, "url": url, "upstream": self.subject.upstream }))
            }
            Event::Reconnecting { reason, retry_in, held } => (
                "reconnecting",
                json!({ "reason": reason, "retry_in_ms": millis(*retry_in), "held_ms": held.map(millis) }),
            ),
            Event::Refused { tunnel, refusal, retry_in } => {
                self.refused |= retry_in.is_none();
                ("refused", refusal_fields(json!({ "tunnel": tunnel }), refusal, *retry_in))
            }
            Event::Unbound { tunnel, refusal, retry_in } => {
                self.refused |= retry_in.is_none();
                ("unbound", refusal_fields(json!({ "tunnel": tunnel }), refusal, *retry_in))
            }
            Event::Moving { refusal } => {
                ("moving", json!({ "code": refusal.code, "message": refusal.message }))
            }
            Event::Draining => ("draining", json!({})),
            Event::LaneAdded { lanes } | Event::LaneLost { lanes } => ("lanes", json!({ "lanes": lanes })),
            Event::Notice { message } => ("notice", json!({ "message": message })),
            Event::UpstreamFailed { tunnel, upstream, code, message } => (
                "upstream-failed",
                json!({ "tunnel": tunnel, "upstream": upstream, "code": code, "message": message }),
            ),
            Event::Hint { tunnel, message } if self.hint.as_ref() != Some(message) => {
                self.hint = Some(message.clone());
                ("hint", json!({ "tunnel": tunnel, "message": message }))
            }
            Event::Request(report) if self.subject.verbose => ("request", json!(report)),
            Event::Rtt { rtt } if self.subject.verbose => {
                ("rtt", json!({ "rtt_ms": rtt.as_secs_f64() * 1000.0 }))
            }
            Event::Missed { count } => ("missed", json!({ "count": count })),
            _ => return None,
        };
        Some(line(name, at, fields))
    }

    pub(super) fn end(&mut self, at: At, failure: Option<&Ending<'_>>) -> Vec<String> {
        let Some(Ending { status, reason, refusal }) = failure else {
            return vec![line("closed", at, json!({ "status": 0, "code": null, "reason": null }))];
        };
        let code = refusal.map(|refusal| refusal.code);
        let mut lines = Vec::new();
        if let Some(refusal) = refusal.filter(|_| !self.refused) {
            lines.push(line("refused", at, refusal_fields(json!({ "tunnel": null }), refusal, None)));
        }
        lines.push(line("closed", at, json!({ "status": status, "code": code, "reason": reason })));
        lines
    }
}

fn refusal_fields(mut fields: Value, refusal: &Refusal, retry_in: Option<Duration>) -> Value {
    fields["code"] = json!(refusal.code);
    fields["message"] = json!(refusal.message);
    fields["retry_in_ms"] = json!(retry_in.map(millis));
    fields
}

pub(super) fn line(event: &str, at: At, fields: Value) -> String {
    let mut object = Map::new();
    object.insert("event".into(), event.into());
    object.insert("time".into(), humantime::format_rfc3339_millis(at.wall).to_string().into());
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    Value::Object(object).to_string()
}

/// The line for events that nobody read in time.
pub(super) fn missed(count: u64, wall: SystemTime) -> String {
    line("missed", At { since: Duration::ZERO, wall }, json!({ "count": count }))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tunnel_client::{Code, TunnelId};

    use super::*;

    const AT: At = At { since: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };

    fn story() -> Json {
        Json::new(Subject { upstream: "http://localhost:3000".into(), held: "name", verbose: false })
    }

    fn parsed(line: &str) -> Value {
        assert!(!line.contains('\n'), "one object a line");
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn events_are_objects_on_one_line() {
        let mut json = story();
        for (event, expected) in [
            (
                Event::Online { tunnel: TunnelId(1), url: "http://a.localhost".into() },
                json!({ "event": "online", "tunnel": 1, "url": "http://a.localhost", "upstream": "http://localhost:3000" }),
            ),
            (
                Event::Reconnecting {
                    reason: "a\nb".into(),
                    retry_in: Duration::from_millis(800),
                    held: None,
                },
                json!({ "event": "reconnecting", "reason": "a\nb", "retry_in_ms": 800, "held_ms": null }),
            ),
            (
                Event::Refused {
                    tunnel: TunnelId(1),
                    refusal: Refusal::permanent(Code::NameTaken, "held"),
                    retry_in: None,
                },
                json!({ "event": "refused", "tunnel": 1, "code": "name-taken", "message": "held", "retry_in_ms": null }),
            ),
        ] {
            let mut expected = expected;
            expected["time"] = "1970-01-01T00:00:00.000Z".into();
            assert_eq!(parsed(&json.tell(&event, AT).unwrap()), expected);
        }
        assert!(json.tell(&Event::Rtt { rtt: Duration::ZERO }, AT).is_none(), "only when verbose");
    }

    #[test]
    fn the_end_names_its_reason_and_a_refusal_is_told_once() {
        let refusal = Refusal::permanent(Code::NameTaken, "held");
        let ending =
            Ending { status: 7, reason: "the server refused the tunnel".into(), refusal: Some(&refusal) };
        let failure = Some(&ending);
        let names =
            |lines: Vec<String>| lines.iter().map(|line| parsed(line)["event"].clone()).collect::<Vec<_>>();
        let mut json = story();
        assert_eq!(names(json.end(AT, failure)), ["refused", "closed"]);
        json.tell(&Event::Refused { tunnel: TunnelId(1), refusal: refusal.clone(), retry_in: None }, AT);
        assert_eq!(names(json.end(AT, failure)), ["closed"]);
        assert_eq!(parsed(&json.end(AT, failure)[0])["status"], 7);
        assert_eq!(parsed(&json.end(AT, None)[0])["status"], 0);
    }
}
