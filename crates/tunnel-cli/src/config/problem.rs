//! What is wrong with a file, in one line, with the place.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// One fault of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    file: PathBuf,
    line: Option<usize>,
    text: String,
}

impl Problem {
    /// The file.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Of a line, counted from 1.
    pub(crate) fn on_line(file: &Path, line: usize, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: Some(line), text: text.into() }
    }

    /// Of the file as a whole.
    pub(crate) fn of_all(file: &Path, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, text: text.into() }
    }

    /// Of the file as a whole, or of how it can be read.
    pub(crate) fn of(file: &Path, error: &dyn std::error::Error) -> Self {
        let text = crate::output::chain(error);
        let path = file.display().to_string();
        // It is named at the beginning of the line already.
        let text = text
            .strip_prefix(&format!("{path}: "))
            .map(str::to_owned)
            .unwrap_or_else(|| text.replacen(&format!("cannot read {path}"), "it can't be read", 1));
        Self::of_all(file, text)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.text)
    }
}
