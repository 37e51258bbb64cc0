//! What a person reads, line by line.

use std::time::SystemTime;

use tunnel_client::{Code, SessionId, TunnelId};
use tunnel_protocol::RequestId;

use super::*;

fn at(millis: u64) -> At {
    At { since: Duration::from_millis(millis), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(3_661) }
}

fn story(verbose: bool, events: &[(u64, Event)]) -> Vec<String> {
    let subject = Subject { upstream: "http://localhost:3000".into(), held: "name", verbose };
    let mut text = Text::new(subject);
    events.iter().flat_map(|(millis, event)| text.tell(event, at(*millis))).collect()
}

fn online(url: &str) -> Event {
    Event::Online { tunnel: TunnelId(1), url: url.into() }
}

fn reconnecting(reason: &str, millis: u64, held: bool) -> Event {
    let held = held.then_some(Duration::from_secs(60));
    Event::Reconnecting { reason: reason.into(), retry_in: Duration::from_millis(millis), held }
}

fn report(path: &str) -> RequestReport {
    RequestReport {
        tunnel: TunnelId(1),
        request: RequestId(1),
        visitor: "203.0.113.9:50000".parse().unwrap(),
        method: "GET".into(),
        path: path.into(),
        status: 200,
        duration_ms: 12,
        hint: None,
        dropped: 0,
    }
}

#[test]
fn a_lost_and_found_connection() {
    let lines = story(
        false,
        &[
            (
                100,
                Event::Connected { session: SessionId(1), server: "tunnel/0".into(), account: "ci".into() },
            ),
            (200, online("http://myapp.localhost:8080")),
            (20_000, reconnecting("no heartbeat for 15 s", 800, true)),
            (20_800, reconnecting("the server refused the connection", 0, true)),
            (21_200, online("http://myapp.localhost:8080")),
        ],
    );
    assert_eq!(
        lines,
        [
            "http://myapp.localhost:8080 -> http://localhost:3000",
            "reconnecting: no heartbeat for 15 s, next try in 0.8 s; name held for you",
            "reconnecting: the server refused the connection, next try now; name held for you",
            "online again after 1.2 s",
        ]
    );
}

#[test]
fn a_long_outage_is_told_when_it_begins_and_changes_and_once_a_minute() {
    let away = |second: u64, reason: &str| (second * 1000, reconnecting(reason, 5_000, true));
    let mut events = vec![(0, online("http://a.localhost"))];
    events.extend((1..=190).map(|second| away(second, if second == 7 { "no route" } else { "refused" })));
    let connected =
        Event::Connected { session: SessionId(1), server: "tunnel/0".into(), account: "ci".into() };
    events.extend([(191_000, connected), (191_000, online("http://a.localhost"))]);
    events.push(away(200, "refused"));
    assert_eq!(
        story(false, &events)[1..],
        [
            "reconnecting: refused, next try in 5.0 s; name held for you",
            "reconnecting: no route, next try in 5.0 s; name held for you",
            "still offline after 66 s: refused, next try in 5.0 s",
            "still offline after 2 min: refused, next try in 5.0 s",
            "still offline after 3 min: refused, next try in 5.0 s",
            "online again after 3 min",
            "reconnecting: refused, next try in 5.0 s; name held for you",
        ]
    );
    let first: Vec<_> = (0..=60).map(|second| away(second, "refused")).collect();
    let lines = story(false, &first);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1], "still not connected after 60 s: refused, next try in 5.0 s");
}

#[test]
fn leaving_is_told_if_there_is_somebody_to_wait_for() {
    let seconds = Duration::from_secs;
    assert_eq!(leaving(0, seconds(30), true), None);
    assert_eq!(left(0), None);
    assert_eq!(
        leaving(1, seconds(30), true).as_deref(),
        Some("stopping: 1 visitor under way may finish, for at most 30 s; Ctrl-C again stops at once")
    );
    assert_eq!(
        leaving(2, seconds(300), false).as_deref(),
        Some("stopping: 2 visitors under way may finish, for at most 5 min; Ctrl-C stops at once")
    );
    assert_eq!(left(1).as_deref(), Some("stopped: the time was up, and 1 visitor was cut off"));
    assert_eq!(left(2).as_deref(), Some("stopped: the time was up, and 2 visitors were cut off"));
}

#[test]
fn a_hint_is_told_once() {
    let hint = |message: &str| Event::Hint { tunnel: TunnelId(1), message: message.into() };
    let lines = story(false, &[(1, hint("use a")), (2, hint("use a")), (3, hint("use b\r"))]);
    assert_eq!(lines, ["hint: use a", "hint: use b\\r"]);
}

#[test]
fn a_first_connection_that_takes_its_time_shows_the_address_alone() {
    let lines = story(
        false,
        &[(10, reconnecting("cannot connect", 250, false)), (300, online("http://a.localhost"))],
    );
    assert_eq!(
        lines,
        ["connecting: cannot connect, next try in 0.2 s", "http://a.localhost -> http://localhost:3000"]
    );
}

#[test]
fn the_address_comes_first_however_much_is_told() {
    let connected =
        || Event::Connected { session: SessionId(1), server: "tunnel/1".into(), account: "ci".into() };
    let lines = story(true, &[(0, connected()), (1, online("http://a.localhost"))]);
    assert_eq!(lines, ["http://a.localhost -> http://localhost:3000", "logged in as ci (tunnel/1)"]);
}

#[test]
fn another_address_after_a_reconnect_is_shown() {
    let lines = story(
        false,
        &[
            (0, online("http://a.localhost")),
            (1_000, reconnecting("gone", 0, true)),
            (2_000, online("http://b.localhost")),
        ],
    );
    assert_eq!(lines[2..], ["online again after 1.0 s", "http://b.localhost -> http://localhost:3000"]);
}

#[test]
fn what_the_server_does_to_a_tunnel() {
    let refusal = || Refusal::permanent(Code::TakenOver, "another client took it");
    let lines = story(
        false,
        &[
            (0, online("http://a.localhost")),
            (1, Event::Moving { refusal: Refusal::passing(Code::Draining, "the server is restarting", 0) }),
            (501, online("http://a.localhost")),
            (502, Event::Moving { refusal: Refusal::passing(Code::Closed, "the operator ended it", 10_000) }),
            (10_502, online("http://a.localhost")),
            (
                10_600,
                Event::Unbound {
                    tunnel: TunnelId(1),
                    refusal: refusal(),
                    retry_in: Some(Duration::from_secs(3)),
                },
            ),
            (10_700, Event::Refused { tunnel: TunnelId(1), refusal: refusal(), retry_in: None }),
        ],
    );
    assert_eq!(
        lines[1..],
        [
            "moving to a new session: the server is restarting; visitors under way are finished on the old one",
            "online again after 0.5 s",
            "offline: the operator ended it",
            "online again after 10 s",
            "http://a.localhost is offline: another client took it, next try in 3.0 s",
            "http://a.localhost is over: another client took it",
        ]
    );
}

#[test]
fn requests_are_told_when_asked_for_and_can_do_no_harm() {
    let events = [(0, Event::Request(report("/a?b=1"))), (1, Event::Request(report("/\x1b]0;x\x07\n")))];
    assert!(story(false, &events).is_empty());
    assert_eq!(
        story(true, &events),
        [
            "01:01:01Z GET /a?b=1 200 12 ms 203.0.113.9",
            "01:01:01Z GET /\\u{1b}]0;x\\u{7}\\n 200 12 ms 203.0.113.9"
        ]
    );
}

#[test]
fn an_upstream_that_is_down_is_mentioned_now_and_then() {
    let failed = || Event::UpstreamFailed {
        tunnel: TunnelId(1),
        upstream: "localhost:3000".into(),
        code: Code::UpstreamRefused,
        message: "nothing listens at localhost:3000".into(),
    };
    let lines = story(false, &[(0, failed()), (5_000, failed()), (10_001, failed())]);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], "a visitor came in vain: nothing listens at localhost:3000");
}
