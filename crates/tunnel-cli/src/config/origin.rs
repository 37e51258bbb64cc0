//! Where a value came from.

use std::collections::BTreeMap;

use clap::{ArgMatches, parser::ValueSource};

/// The sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of the file.
    File(usize),
    /// The environment.
    Variable,
    /// The command line.
    Flag,
}

impl Origin {
    /// How near to the command line it is.
    pub(crate) fn rank(self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File(_) => 1,
            Self::Variable => 2,
            Self::Flag => 3,
        }
    }
}

/// Where the values of a command came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources<'a> {
    matches: &'a ArgMatches,
    lines: &'a BTreeMap<String, usize>,
}

impl<'a> Sources<'a> {
    pub(crate) fn new(matches: &'a ArgMatches, lines: &'a BTreeMap<String, usize>) -> Self {
        Self { matches, lines }
    }

    /// `None` if there is no value.
    pub(crate) fn of(&self, id: &str) -> Option<Origin> {
        if let Some(line) = self.lines.get(id) {
            return Some(Origin::File(*line));
        }
        Some(match self.matches.value_source(id)? {
            ValueSource::CommandLine => Origin::Flag,
            ValueSource::EnvVariable => Origin::Variable,
            _ => Origin::Default,
        })
    }

    /// Whether it was on the command line, where others can see it.
    pub(crate) fn is_typed(&self, id: &str) -> bool {
        self.of(id) == Some(Origin::Flag)
    }
}
