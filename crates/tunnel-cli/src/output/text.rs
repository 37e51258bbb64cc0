//! A client's story for people: the address first, then one line per change with its reason.

use std::time::Duration;

use tunnel_client::{Code, Event, Refusal};
use tunnel_protocol::control::RequestReport;

use super::{
    At, Subject,
    words::{next_try, printable, span},
};

/// How long a failing upstream is not mentioned again: each visitor meets it.
const UPSTREAM_AGAIN: Duration = Duration::from_secs(10);

/// How long a connection that stays lost for the same reasons is not mentioned again.
const LOST_AGAIN: Duration = Duration::from_secs(60);
/// How many reasons are kept in mind to be told once. Further ones are told each time.
const REASONS: usize = 8;

/// The story so far.
#[derive(Debug)]
pub(crate) struct Text {
    subject: Subject,
    /// The address shown last.
    url: Option<String>,
    /// Since when there is no session.
    lost: Option<Duration>,
    outage: Option<Outage>,
    upstream_failed: Option<Duration>,
    /// The hint told last: each visitor causes it.
    hint: Option<String>,
    /// Said after the address, which comes first.
    greeting: Option<String>,
}

/// There is no session: what of that was told.
#[derive(Debug)]
struct Outage {
    since: Duration,
    /// When something was told last.
    told: Duration,
    /// Why attempts failed, as far as it was told.
    reasons: Vec<String>,
}

impl Text {
    pub(super) fn new(subject: Subject) -> Self {
        Self {
            subject,
            url: None,
            lost: None,
            outage: None,
            upstream_failed: None,
            hint: None,
            greeting: None,
        }
    }

    pub(super) fn tell(&mut self, event: &Event, at: At) -> Vec<String> {
        let line = match event {
            Event::Online { url, .. } => return self.online(url, at),
            Event::Reconnecting { reason, retry_in, held } => {
                match self.lost(reason, *retry_in, held.is_some(), at) {
                    Some(line) => line,
                    None => return Vec::new(),
                }
            }
            Event::Refused { refusal, retry_in, .. } => self.not_back(refusal, *retry_in),
            Event::Unbound { refusal, retry_in, .. } => {
                self.lost.get_or_insert(at.since);
                self.not_back(refusal, *retry_in)
            }
            // An operator sends it away, and its visitors go with the session.
            Event::Moving { refusal } if refusal.code == Code::Closed => {
                self.lost.get_or_insert(at.since);
                format!("offline: {}", refusal.message)
            }
            Event::Moving { refusal } => {
                self.lost.get_or_insert(at.since);
                format!(
                    "moving to a new session: {}; visitors under way are finished on the old one",
                    refusal.message
                )
            }
            Event::Notice { message } => format!("the server says: {message}"),
            Event::UpstreamFailed { message, .. } => match self.upstream_failed(message, at) {
                Some(line) => line,
                None => return Vec::new(),
            },
            Event::Hint { message, .. } if self.hint.as_ref() != Some(message) => {
                self.hint = Some(message.clone());
                format!("hint: {message}")
            }
            Event::Missed { count } => missed(*count),
            Event::Request(report) if self.subject.verbose => request(report, at),
            Event::Connected { server, account, .. } => {
                self.outage = None;
                self.greeting = Some(format!("logged in as {account} ({server})"));
                return Vec::new();
            }
            Event::LaneAdded { lanes } | Event::LaneLost { lanes } if self.subject.verbose => {
                format!("connections to the server: {lanes}")
            }
            _ => return Vec::new(),
        };
        vec![printable(&line)]
    }

    fn online(&mut self, url: &str, at: At) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(lost) = self.lost.take()
            && self.url.is_some()
        {
            lines.push(format!("online again after {}", span(at.since.saturating_sub(lost))));
        }
        if self.url.as_deref() != Some(url) {
            self.url = Some(url.to_owned());
            lines.push(printable(&format!("{url} -> {}", self.subject.upstream)));
        }
        lines.extend(self.greeting.take().filter(|_| self.subject.verbose).map(|line| printable(&line)));
        lines
    }

    /// Each attempt fails, mostly in the same way: that is told when it is new, and then now and then.
    fn lost(&mut self, reason: &str, retry_in: Duration, held: bool, at: At) -> Option<String> {
        self.lost.get_or_insert(at.since);
        let begin = || Outage { since: at.since, told: at.since, reasons: Vec::new() };
        let Outage { since, told, reasons } = self.outage.get_or_insert_with(begin);
        let is_new = !reasons.iter().any(|told| told == reason);
        if !is_new && at.since.saturating_sub(*told) < LOST_AGAIN {
            return None;
        }
        *told = at.since;
        let next = next_try(retry_in);
        if !is_new {
            let state = if self.url.is_some() { "offline" } else { "not connected" };
            let after = span(at.since.saturating_sub(*since));
            return Some(format!("still {state} after {after}: {reason}, {next}"));
        }
        if reasons.len() < REASONS {
            reasons.push(reason.to_owned());
        }
        let held = if held { format!("; {} held for you", self.subject.held) } else { String::new() };
        let verb = if self.url.is_some() { "reconnecting" } else { "connecting" };
        Some(format!("{verb}: {reason}, {next}{held}"))
    }

    fn not_back(&self, refusal: &Refusal, retry_in: Option<Duration>) -> String {
        let what = self.url.as_deref().unwrap_or("the tunnel");
        match retry_in {
            Some(after) => format!("{what} is offline: {}, {}", refusal.message, next_try(after)),
            None => format!("{what} is over: {}", refusal.message),
        }
    }

    fn upstream_failed(&mut self, message: &str, at: At) -> Option<String> {
        let lately = self.upstream_failed.is_some_and(|last| at.since.saturating_sub(last) < UPSTREAM_AGAIN);
        if lately && !self.subject.verbose {
            return None;
        }
        self.upstream_failed = Some(at.since);
        Some(format!("a visitor came in vain: {message}"))
    }
}

/// What those who wait for the end should know; nothing if there is nothing to wait for.
pub(super) fn leaving(visitors: usize, grace: Duration, again: bool) -> Option<String> {
    let again = if again { " again" } else { "" };
    let (who, grace) = (counted(visitors), span(grace));
    let line =
        format!("stopping: {who} under way may finish, for at most {grace}; Ctrl-C{again} stops at once");
    (visitors > 0).then_some(line)
}

/// That events were left out.
pub(super) fn missed(count: u64) -> String {
    format!("{count} events came too fast to be shown")
}

/// Who couldn't finish.
pub(super) fn left(cut: usize) -> Option<String> {
    (cut > 0).then(|| format!("stopped: the time was up, and {} cut off", were(cut)))
}

fn counted(visitors: usize) -> String {
    format!("{visitors} visitor{}", if visitors == 1 { "" } else { "s" })
}

fn were(visitors: usize) -> String {
    format!("{} {}", counted(visitors), if visitors == 1 { "was" } else { "were" })
}

/// `15:04:11Z GET /path 200 12 ms 203.0.113.9`
fn request(report: &RequestReport, at: At) -> String {
    let clock = humantime::format_rfc3339_seconds(at.wall).to_string();
    let clock = clock.split_once('T').map_or(clock.as_str(), |(_, clock)| clock);
    let dropped = match report.dropped {
        0 => String::new(),
        dropped => format!(" ({dropped} before it not shown)"),
    };
    let RequestReport { method, path, status, duration_ms, visitor, .. } = report;
    format!("{clock} {method} {path} {status} {duration_ms} ms {}{dropped}", visitor.ip())
}

#[cfg(test)]
mod tests;
