//! Where lines go: results to standard output, remarks to standard error.

use std::{
    io::{self, Write},
    sync::OnceLock,
};

/// The process's two outputs. A failure to write is no reason to stop serving visitors, so it is only kept in mind:
/// whoever's result is lost asks for it by [`Console::written`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    /// The first one of standard output.
    failure: &'static OnceLock<io::Error>,
}

impl Console {
    /// There is one for a process, and it is never given back.
    pub(crate) fn new() -> Self {
        Self { failure: Box::leak(Box::default()) }
    }

    /// A line that scripts and people wait for; shown at once.
    pub(crate) fn line(self, text: &str) {
        let mut out = io::stdout().lock();
        self.note(writeln!(out, "{text}").and_then(|()| out.flush()));
    }

    /// A remark.
    pub(crate) fn remark(self, text: &str) {
        super::remark(text);
    }

    /// Something the person should change.
    pub(crate) fn warning(self, text: &str) {
        self.remark(&format!("warning: {text}"));
    }

    /// Whether all lines are where they should be, as far as anybody wanted them.
    ///
    /// # Errors
    /// Why the first one that isn't couldn't be written.
    pub(crate) fn written(self) -> io::Result<()> {
        match self.failure.get() {
            Some(error) => Err(io::Error::new(error.kind(), error.to_string())),
            None => Ok(()),
        }
    }

    fn note(self, outcome: io::Result<()>) {
        match outcome {
            // A reader that has gone away has what it wants.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                // The first one says it all.
                let _ = self.failure.set(error);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_has_gone_away_excuses_a_lost_line() {
        for (kind, is_excused) in [
            (io::ErrorKind::BrokenPipe, true),
            (io::ErrorKind::StorageFull, false),
            (io::ErrorKind::Other, false),
        ] {
            let console = Console::new();
            console.note(Ok(()));
            assert!(console.written().is_ok());
            console.note(Err(kind.into()));
            console.note(Ok(()));
            assert_eq!(console.written().is_ok(), is_excused, "{kind}");
        }
    }
}
