//! Configuration files: everything that flags can say, in TOML.
//!
//! ```text
//!   text ─► document (keys, values, lines; `${VAR}`) ─► schema (what clap knows of each key) ─► layers ─► clap
//! ```
//! Keys are the long flags' names with `_` for `-`, and what a key takes is read off clap's own definitions, so a flag
//! that is added anywhere is in the files as well. The values are handed to clap as if they had been typed: one parser
//! reads each value, whatever its source, and what flags need or exclude holds for a file, too.
//!
//! Which source of a value counts is decided in [`layers`]: a typed flag, then a variable, then the file.

mod document;
mod layers;
mod load;
mod origin;
mod places;
mod problem;
mod schema;
mod show;
mod variables;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

pub(crate) use self::{
    document::{Document, Setting, Table, Value},
    layers::{layer, tunnel_words},
    load::load,
    origin::{Origin, Sources},
    places::{DefaultPlaces, default_place},
    problem::Problem,
    schema::{UPSTREAM, is_secret, keys_of_tunnel, nearest},
    show::{REDACTED, Shown, show},
};
use crate::state::{
    files::{self, FileError},
    stamp::Stamp,
};

/// Whose settings a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// Those of `tunnel server`.
    Server,
    /// Those of all commands that publish something.
    Client,
}

/// The settings that a command has from a file.
#[derive(Clone, Debug, Default)]
pub struct FromFile {
    /// The file: the one that was named, or the default place, whether there is one or not.
    pub(crate) path: Option<PathBuf>,
    /// As it was when it was read; `None` if there was none.
    pub(crate) stamp: Option<Stamp>,
    /// On which line a flag's value stands, for those that count.
    pub(crate) lines: BTreeMap<String, usize>,
    /// What it holds.
    pub(crate) document: Document,
    /// What the person should know first.
    pub(crate) warnings: Vec<String>,
}

impl FromFile {
    /// The file, if it was read.
    pub(crate) fn read(&self) -> Option<&Path> {
        self.path.as_deref().filter(|_| self.stamp.is_some())
    }
}

/// A file's text.
pub(crate) fn read(path: &Path) -> Result<String, FileError> {
    let bytes = files::read_existing(path)?;
    String::from_utf8(bytes).map_err(|_| FileError::content(path, "it isn't UTF-8"))
}
