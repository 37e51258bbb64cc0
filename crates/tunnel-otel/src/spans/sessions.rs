//! Clients' sessions as spans, each a trace of its own. A span is sent when it is over, so they are kept until then.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::SystemTime,
};

use tunnel_server::{Event, SessionId, SessionInfo};

use super::{
    FLAGS,
    attributes::{number, text},
    nanos,
};
use crate::message::{SERVER, Span, SpanEvent};

/// How many of a session's tunnels its span tells of; of more it tells how many.
const TUNNELS: usize = 128;

/// The sessions that go on, as many as the server lets in.
#[derive(Debug, Default)]
pub(crate) struct Sessions(HashMap<SessionId, Span>);

impl Sessions {
    /// Takes what happened; the span of what is over by it.
    pub(crate) fn take(&mut self, event: Event) -> Option<Span> {
        match event {
            Event::SessionStarted { session, identity, machine, address } => {
                self.begin(session, (&identity, &machine, address), SystemTime::now());
                None
            }
            Event::TunnelBound { session, url } => {
                let span = self.0.get_mut(&session)?;
                if span.events.len() < TUNNELS {
                    span.events.push(SpanEvent {
                        time_unix_nano: nanos(SystemTime::now()),
                        name: "tunnel up".into(),
                        attributes: vec![text("tunnel.url", url)],
                    });
                } else {
                    span.dropped_events_count += 1;
                }
                None
            }
            Event::SessionEnded { session, reason } => {
                let span = self.0.remove(&session)?;
                Some(ended(span, Some(reason)))
            }
            _ => None,
        }
    }

    /// Begins anew with what there is, after events were missed; the spans of what is over.
    pub(crate) fn look(&mut self, now: &[SessionInfo]) -> Vec<Span> {
        let here: HashSet<SessionId> = now.iter().map(|session| session.id).collect();
        let gone = self.0.extract_if(|session, _| !here.contains(session));
        let gone = gone.map(|(_, span)| ended(span, None)).collect();
        for session in now {
            if !self.0.contains_key(&session.id) {
                self.begin(session.id, (&session.identity, &session.machine, session.address), session.since);
            }
        }
        gone
    }

    /// The spans of all that goes on, as if it ended now.
    pub(crate) fn end(&mut self) -> Vec<Span> {
        self.0.drain().map(|(_, span)| ended(span, None)).collect()
    }

    fn begin(
        &mut self,
        session: SessionId,
        (identity, machine, address): (&str, &str, SocketAddr),
        since: SystemTime,
    ) {
        let mut trace = [0; 16];
        // Without random bytes there was no session.
        if getrandom::fill(&mut trace).is_err() {
            return;
        }
        let span = Span {
            trace_id: trace.into(),
            // Random, too.
            span_id: session.0.to_be_bytes().into(),
            flags: FLAGS,
            name: "session".into(),
            kind: SERVER,
            start_time_unix_nano: nanos(since),
            attributes: vec![
                text("tunnel.session", session.to_string()),
                text("tunnel.token", identity),
                text("tunnel.machine", machine),
                text("client.address", address.ip().to_canonical().to_string()),
                number("client.port", address.port()),
            ],
            ..Span::default()
        };
        self.0.insert(session, span);
    }
}

fn ended(mut span: Span, reason: Option<String>) -> Span {
    span.end_time_unix_nano = nanos(SystemTime::now()).max(span.start_time_unix_nano);
    span.attributes.extend(reason.map(|reason| text("tunnel.reason", reason)));
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(session: u64) -> Event {
        Event::SessionStarted {
            session: SessionId(session),
            identity: "alice".into(),
            machine: "laptop".into(),
            address: "[::ffff:192.0.2.1]:5".parse().unwrap(),
        }
    }

    #[test]
    fn a_session_is_told_of_when_it_is_over() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.take(started(7)), None);
        let bound = Event::TunnelBound { session: SessionId(7), url: "http://a.test".into() };
        for _ in 0..=TUNNELS {
            assert_eq!(sessions.take(bound.clone()), None);
        }
        let end = Event::SessionEnded { session: SessionId(7), reason: "the client left".into() };
        let span = sessions.take(end.clone()).unwrap();
        assert_eq!((span.name.as_str(), span.span_id[7], span.trace_id.len()), ("session", 7, 16));
        assert!(span.start_time_unix_nano > 0 && span.start_time_unix_nano <= span.end_time_unix_nano);
        assert_eq!((span.events.len(), span.dropped_events_count), (TUNNELS, 1));
        let expected = [
            text("tunnel.session", "0000000000000007"),
            text("tunnel.token", "alice"),
            text("tunnel.machine", "laptop"),
            text("client.address", "192.0.2.1"),
            number("client.port", 5),
            text("tunnel.reason", "the client left"),
        ];
        assert_eq!(span.attributes, expected);
        assert_eq!(sessions.take(end), None, "it is over");
    }

    #[test]
    fn missed_events_and_the_end_leave_none_behind() {
        let mut sessions = Sessions::default();
        sessions.take(started(1));
        sessions.take(started(2));
        assert_eq!(sessions.look(&[]).len(), 2);
        sessions.take(started(3));
        assert_eq!(sessions.end().len(), 1);
        assert_eq!(sessions.end(), []);
    }
}
