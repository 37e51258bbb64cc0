//! Where lines go: results to standard output, remarks to standard error.

use std::io::{self, Write};

/// The process's two outputs. A reader that has gone away is no reason to stop serving visitors, so failures to
/// write are ignored.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Console;

impl Console {
    /// A line that scripts and people wait for; shown at once.
    pub(crate) fn line(self, text: &str) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// A remark.
    pub(crate) fn remark(self, text: &str) {
        super::remark(text);
    }

    /// Something the person should change.
    pub(crate) fn warning(self, text: &str) {
        self.remark(&format!("warning: {text}"));
    }
}
