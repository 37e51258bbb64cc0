//! Where lines go: results to standard output, remarks to standard error.

use std::{
    io::{self, Write},
    sync::OnceLock,
};

use super::lines::Lines;

/// The process's two outputs. A failure to write is no reason to stop serving visitors, so it is only kept in mind:
/// whoever's result is lost asks for it by [`Console::written`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    /// The first one of standard output.
    failure: &'static OnceLock<io::Error>,
    /// Who writes standard output, if that is somebody else.
    writer: Option<&'static Lines>,
}

impl Console {
    /// There is one for a process, and it is never given back.
    pub(crate) fn new() -> Self {
        Self { failure: Box::leak(Box::default()), writer: None }
    }

    /// The same for a command that goes on until it is stopped: whoever reads its lines may have stopped reading, and it
    /// must hear of signals all the same. From here on another thread writes, and `of_lost` is the line that says how
    /// many were left out.
    pub(crate) fn in_background(self, of_lost: impl Fn(u64) -> String + Send + 'static) -> Self {
        let of_lost = move |lost| format!("{}\n", of_lost(lost));
        match Lines::start("stdout", io::stdout(), of_lost) {
            Ok(lines) => Self { writer: Some(Box::leak(Box::new(lines))), ..self },
            // No thread is left: better late than never.
            Err(_) => self,
        }
    }

    /// A line that scripts and people wait for; shown at once.
    pub(crate) fn line(self, text: &str) {
        if let Some(writer) = self.writer {
            return writer.put_or_lose(format!("{text}\n").into_bytes());
        }
        let mut out = io::stdout().lock();
        self.note(writeln!(out, "{text}").and_then(|()| out.flush()));
    }

    /// Waits until the lines so far are written, unless nobody reads them.
    pub(crate) fn flush(self) {
        if let Some(writer) = self.writer {
            writer.flush();
        }
    }

    /// The same at the end, when nothing else will tell of what nobody has read.
    pub(crate) fn finish(self) {
        match self.writer.map_or(0, Lines::flush) {
            0 => {}
            1 => self.warning("the last line of the output is lost: nobody read it"),
            lines => {
                self.warning(&format!("the last {lines} lines of the output are lost: nobody read them"));
            }
        }
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
