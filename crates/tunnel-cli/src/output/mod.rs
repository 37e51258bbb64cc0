//! Events to lines: for people as text, for scripts as JSON. Pure: what to print is decided here, and printed by
//! [`console`].

#[cfg(unix)]
pub(crate) mod admin;
mod console;
mod fleet;
mod json;
mod lines;
mod standard_error;
mod text;
pub(crate) mod tokens;
mod words;

use std::time::{Duration, SystemTime};

use tunnel_client::{Event, Refusal};

use crate::args::Output;

pub(crate) use self::{
    console::Console,
    fleet::{Fleet, Reloaded, tunnel_of},
    words::{chain, printable},
};

pub use self::standard_error::{StandardError, StandardErrorGuard, remark};

/// Tells a client's story, one line after the other.
#[derive(Debug)]
pub(crate) enum Narrator {
    /// For people.
    Text(text::Text),
    /// For scripts.
    Json(json::Json),
}

/// What a story is about.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// The upstream as people write it: `http://localhost:3000`.
    pub(crate) upstream: String,
    /// What is held while the client is away: `name` or `port`.
    pub(crate) held: &'static str,
    /// Whether requests and the connection's details are told.
    pub(crate) verbose: bool,
}

/// How a client ended that failed.
#[derive(Clone, Debug)]
pub(crate) struct Ending<'a> {
    /// The exit status.
    pub(crate) status: u8,
    /// What happened, in a line.
    pub(crate) reason: String,
    /// The server's refusal, if that is what it was.
    pub(crate) refusal: Option<&'a Refusal>,
}

/// The line for so many that nobody read in time.
pub(crate) fn missed(form: Output, count: u64) -> String {
    match form {
        Output::Text => text::missed(count),
        Output::Json => json::missed(count, SystemTime::now()),
    }
}

/// When something happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    /// Since the client started.
    pub(crate) since: Duration,
    /// By the clock.
    pub(crate) wall: SystemTime,
}

impl Narrator {
    pub(crate) fn new(form: Output, subject: Subject) -> Self {
        match form {
            Output::Text => Self::Text(text::Text::new(subject)),
            Output::Json => Self::Json(json::Json::new(subject)),
        }
    }

    /// The lines to print for an event; often none.
    pub(crate) fn tell(&mut self, event: &Event, at: At) -> Vec<String> {
        match self {
            Self::Text(text) => text.tell(event, at),
            Self::Json(json) => json.tell(event, at).into_iter().collect(),
        }
    }

    /// The lines for when the client begins to leave; `again`: by a signal, which a second one would hasten.
    pub(crate) fn leaving(&self, visitors: usize, grace: Duration, again: bool) -> Vec<String> {
        match self {
            Self::Text(_) => text::leaving(visitors, grace, again).into_iter().collect(),
            Self::Json(_) => Vec::new(),
        }
    }

    /// The lines for when it has left; `cut`: visitors whose time was up.
    pub(crate) fn left(&self, cut: usize) -> Vec<String> {
        match self {
            Self::Text(_) => text::left(cut).into_iter().collect(),
            Self::Json(_) => Vec::new(),
        }
    }

    /// The lines for the end. A failure is told to people by `main`, on standard error.
    pub(crate) fn end(&mut self, at: At, failure: Option<&Ending<'_>>) -> Vec<String> {
        match self {
            Self::Text(_) => Vec::new(),
            Self::Json(json) => json.end(at, failure),
        }
    }
}
