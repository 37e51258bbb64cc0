//! What is said of a command line that can't be carried out: one line with the fault and the next command to run.
//!
//! clap explains itself in paragraphs, and its tips are guesses. So only what it found is taken, and said here in the
//! words of all other errors; calls for help are printed as clap has them.

mod typed;
mod words;

use std::{
    ffi::OsString,
    fmt,
    io::{self, Write},
};

use clap::{Command, error::ErrorKind};

use self::typed::Typed;
use crate::{Failure, config::Problem, output::printable};

/// A command line that can't be carried out, or one that asks for help; already in words.
#[derive(Debug)]
pub struct Usage(Kind);

#[derive(Debug)]
enum Kind {
    /// Help or the version was asked for, or nothing at all.
    Help(clap::Error),
    /// What is wrong, and the command that shows how it is right, if there is one.
    Wrong { what: String, see: Option<String> },
}

impl Usage {
    pub(super) fn new(message: impl fmt::Display) -> Self {
        Self(Kind::Wrong { what: printable(&message.to_string()), see: None })
    }

    /// A file with faults. Of several, which each have a line, only the number is told.
    pub(super) fn of_file(problems: &[Problem]) -> Self {
        match problems {
            [problem, _, ..] => {
                let (count, file) = (problems.len(), problem.file().display());
                Self::new(format_args!("{count} faults in {file}; see them: tunnel config check {file}"))
            }
            problems => Self::new(problems.iter().map(ToString::to_string).collect::<String>()),
        }
    }

    /// What clap found in `words`, which it read as `root`.
    pub(super) fn found(error: clap::Error, root: &Command, words: &[OsString]) -> Self {
        if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            return Self(Kind::Help(error));
        }
        Self::new(words::say(&error, &Typed::read(root, words))).in_a_call_of(root, words)
    }

    /// The same with where to read on, unless that is said.
    pub(super) fn in_a_call_of(mut self, root: &Command, words: &[OsString]) -> Self {
        if let Kind::Wrong { see: see @ None, .. } = &mut self.0 {
            *see = Some(Typed::read(root, words).help());
        }
        self
    }

    /// What is wrong, without where to read on.
    pub(crate) fn line(&self) -> String {
        match &self.0 {
            Kind::Help(error) => error.to_string(),
            Kind::Wrong { what, .. } => what.clone(),
        }
    }

    /// Prints it where it belongs: help to standard output, complaints to standard error.
    ///
    /// # Errors
    /// [`Failure::Write`]: help that can't be written.
    pub fn print(&self) -> Result<(), Failure> {
        let printed = match &self.0 {
            Kind::Help(error) => error.print().and_then(|()| io::stdout().flush()),
            Kind::Wrong { .. } => {
                // There is nowhere else to say it.
                let _ = writeln!(io::stderr().lock(), "error: {self}");
                return Ok(());
            }
        };
        match printed {
            // Whoever closed the other end doesn't want to read it; and of a complaint the status tells.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe || self.status() != 0 => Ok(()),
            printed => printed.map_err(|source| Failure::Write { what: "standard output".into(), source }),
        }
    }

    /// The exit status that goes with it: 0 for help, 2 for bad usage.
    pub fn status(&self) -> u8 {
        match &self.0 {
            Kind::Help(error) => u8::try_from(error.exit_code()).unwrap_or(2),
            Kind::Wrong { .. } => 2,
        }
    }
}

impl fmt::Display for Usage {
    /// The whole line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line();
        match &self.0 {
            Kind::Wrong { see: Some(see), .. } if line.ends_with('?') => write!(f, "{line} see: {see}"),
            Kind::Wrong { see: Some(see), .. } => write!(f, "{line}; see: {see}"),
            _ => f.write_str(&line),
        }
    }
}

#[cfg(test)]
mod tests;
