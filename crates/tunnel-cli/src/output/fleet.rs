//! The story of a client with several tunnels: each has its own, told under its name, and beside them there is that of
//! the session.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tunnel_client::{Event, Refusal, TunnelId};

use super::{
    At, Ending, Narrator, Subject, json,
    words::{printable, span},
};
use crate::args::Output;

/// The story so far.
#[derive(Debug)]
pub(crate) struct Fleet {
    form: Output,
    session: Narrator,
    tunnels: BTreeMap<String, Narrator>,
    /// Since when there is no session.
    lost: Option<Duration>,
}

impl Fleet {
    pub(crate) fn new(form: Output, verbose: bool) -> Self {
        let session = Narrator::new(form, Subject { upstream: String::new(), held: "names", verbose });
        Self { form, session, tunnels: BTreeMap::new(), lost: None }
    }

    /// A tunnel's story begins, or begins anew: it leads somewhere else now.
    pub(crate) fn begin(&mut self, name: &str, subject: Subject) {
        self.tunnels.insert(name.to_owned(), Narrator::new(self.form, subject));
    }

    /// The lines to print for an event about a tunnel.
    pub(crate) fn tell_of(&mut self, name: &str, event: &Event, at: At) -> Vec<String> {
        let lines = self.tunnels.get_mut(name).map(|narrator| narrator.tell(event, at)).unwrap_or_default();
        lines.into_iter().map(|line| self.named(name, &line)).collect()
    }

    /// The lines to print for an event about the client.
    pub(crate) fn tell(&mut self, event: &Event, at: At) -> Vec<String> {
        let mut lines = self.session.tell(event, at);
        match event {
            Event::Reconnecting { .. } => {
                self.lost.get_or_insert(at.since);
            }
            Event::Connected { .. } => {
                let lost = self.lost.take().filter(|_| self.form == Output::Text);
                lines.extend(
                    lost.map(|lost| format!("connected after {}", span(at.since.saturating_sub(lost)))),
                );
            }
            _ => {}
        }
        lines
    }

    /// A tunnel can't be had, or not as it is now wanted.
    pub(crate) fn refused(&mut self, name: &str, reason: &str, refusal: Option<&Refusal>, at: At) -> String {
        match self.form {
            Output::Text => self.named(name, &printable(reason)),
            Output::Json => {
                let code = refusal.map(|refusal| refusal.code);
                let fields = json!({ "tunnel": null, "code": code, "message": reason, "retry_in_ms": null });
                self.named(name, &json::line("refused", at, fields))
            }
        }
    }

    /// The settings were read again: what has changed, or why nothing has.
    pub(crate) fn reloaded(&mut self, reloaded: &Reloaded, at: At) -> String {
        match self.form {
            Output::Text => reloaded.text(),
            Output::Json => json::line("reloaded", at, reloaded.fields()),
        }
    }

    /// The lines for when the client begins to leave, by a signal.
    pub(crate) fn leaving(&self, visitors: usize, grace: Duration) -> Vec<String> {
        self.session.leaving(visitors, grace, true)
    }

    /// The lines for when it has left.
    pub(crate) fn left(&self, cut: usize) -> Vec<String> {
        self.session.left(cut)
    }

    /// The lines for the end.
    pub(crate) fn end(&mut self, at: At, failure: Option<&Ending<'_>>) -> Vec<String> {
        self.session.end(at, failure)
    }

    fn named(&self, name: &str, line: &str) -> String {
        match self.form {
            Output::Text => format!("{}: {line}", printable(name)),
            Output::Json => match serde_json::from_str(line) {
                Ok(Value::Object(mut object)) => {
                    object.insert("name".into(), name.into());
                    Value::Object(object).to_string()
                }
                _ => line.to_owned(),
            },
        }
    }
}

/// What became of reading the settings again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reloaded {
    /// Tunnels.
    pub(crate) added: Vec<String>,
    pub(crate) changed: Vec<String>,
    pub(crate) removed: Vec<String>,
    /// Flags that have changed and count after a restart only.
    pub(crate) needs_restart: Vec<&'static str>,
    /// Why nothing has changed.
    pub(crate) error: Option<String>,
}

impl Reloaded {
    fn text(&self) -> String {
        if let Some(error) = &self.error {
            return format!("the settings can't be used, and nothing has changed: {}", printable(error));
        }
        let of = |what: &str, names: &[String]| match names {
            [] => None,
            names => Some(format!("{what}: {}", names.join(", "))),
        };
        let parts = [of("added", &self.added), of("changed", &self.changed), of("removed", &self.removed)];
        let restart = (!self.needs_restart.is_empty())
            .then(|| format!("count after a restart only: {}", self.needs_restart.join(", ")));
        let parts: Vec<_> = parts.into_iter().flatten().chain(restart).collect();
        let parts = if parts.is_empty() { "nothing new".to_owned() } else { parts.join("; ") };
        printable(&format!("settings read again; {parts}"))
    }

    fn fields(&self) -> Value {
        json!({
            "added": self.added,
            "changed": self.changed,
            "removed": self.removed,
            "needs_restart": self.needs_restart,
            "error": self.error,
        })
    }
}

/// Which tunnel an event is about, if it is about one.
pub(crate) fn tunnel_of(event: &Event) -> Option<TunnelId> {
    match event {
        Event::Online { tunnel, .. }
        | Event::Refused { tunnel, .. }
        | Event::Unbound { tunnel, .. }
        | Event::UpstreamFailed { tunnel, .. }
        | Event::Hint { tunnel, .. } => Some(*tunnel),
        Event::Request(report) => Some(report.tunnel),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn at(seconds: u64) -> At {
        At { since: Duration::from_secs(seconds), wall: SystemTime::UNIX_EPOCH }
    }

    fn online() -> Event {
        Event::Online { tunnel: TunnelId(1), url: "http://a.test".into() }
    }

    fn subject() -> Subject {
        Subject { upstream: "http://localhost:3000".into(), held: "name", verbose: false }
    }

    #[test]
    fn each_line_says_whose_it_is() {
        let mut text = Fleet::new(Output::Text, false);
        text.begin("web", subject());
        assert_eq!(text.tell_of("web", &online(), at(0)), ["web: http://a.test -> http://localhost:3000"]);
        assert_eq!(text.tell_of("web", &online(), at(1)), Vec::<String>::new(), "told already");
        assert_eq!(text.tell_of("other", &online(), at(1)), Vec::<String>::new());
        assert_eq!(text.refused("a\nb", "no", None, at(0)), "a\\nb: no", "one line, whatever it is called");

        let mut json = Fleet::new(Output::Json, false);
        json.begin("web", subject());
        let lines = json.tell_of("web", &online(), at(0));
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!((&line["name"], &line["event"]), (&json!("web"), &json!("online")));
    }

    #[test]
    fn the_session_is_told_once_for_all() {
        let mut fleet = Fleet::new(Output::Text, false);
        let lost = Event::Reconnecting { reason: "gone".into(), retry_in: Duration::ZERO, held: None };
        assert_eq!(fleet.tell(&lost, at(1)).len(), 1);
        let connected = Event::Connected {
            session: tunnel_client::SessionId(1),
            server: "tunnel".into(),
            account: "ana".into(),
        };
        assert_eq!(fleet.tell(&connected, at(4)), ["connected after 3.0 s"]);
        assert_eq!(fleet.tell(&connected, at(5)), Vec::<String>::new());
    }

    #[test]
    fn what_was_read_again_is_one_line() {
        let mut fleet = Fleet::new(Output::Text, false);
        let mut line = |reloaded: &Reloaded| fleet.reloaded(reloaded, at(0));
        assert_eq!(line(&Reloaded::default()), "settings read again; nothing new");
        let some = Reloaded {
            added: vec!["a".into()],
            removed: vec!["b".into(), "c".into()],
            needs_restart: vec!["--server"],
            ..Reloaded::default()
        };
        assert_eq!(
            line(&some),
            "settings read again; added: a; removed: b, c; count after a restart only: --server"
        );
        let wrong = Reloaded { error: Some("c.toml:2: x\ny".into()), ..Reloaded::default() };
        let said = line(&wrong);
        assert!(said.contains("nothing has changed: c.toml:2: x\\ny"), "{said}");
    }
}
