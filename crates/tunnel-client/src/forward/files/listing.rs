//! What is in a directory, for the page that lists it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    page,
    root::{Root, is_hidden},
};

/// Most entries of a page. A directory may have millions, and a visitor may ask for it all day.
pub(super) const MOST: usize = 1000;

/// One line of a listing.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// False sorts first.
    pub(super) is_file: bool,
    pub(super) name: String,
    /// In bytes, of files.
    pub(super) size: u64,
}

/// The page for the directory at `real`, which visitors know as `relative`.
pub(super) fn of(root: &Root, real: &Path, relative: &Path) -> io::Result<String> {
    let mut entries = Vec::new();
    let mut is_whole = true;
    for entry in fs::read_dir(real)? {
        if entries.len() == MOST {
            is_whole = false;
            break;
        }
        entries.extend(entry.ok().and_then(|entry| describe(root, &entry, relative)));
    }
    entries.sort();
    Ok(page::listing(&shown(relative), &entries, is_whole))
}

/// `None` for what a visitor could not open: hidden things, links that lead out, pipes, names that are no text.
fn describe(root: &Root, entry: &fs::DirEntry, within: &Path) -> Option<Entry> {
    let name = entry.file_name().into_string().ok().filter(|name| !is_hidden(name))?;
    let data = match entry.file_type().ok()? {
        kind if kind.is_symlink() => fs::metadata(root.real(&within.join(&name)).ok()?).ok()?,
        _ => entry.metadata().ok()?,
    };
    let known = data.is_file() || data.is_dir();
    known.then(|| Entry { is_file: data.is_file(), name, size: data.len() })
}

/// `/`, `/docs/`.
fn shown(relative: &Path) -> String {
    let mut path = PathBuf::from(relative).to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
    if !path.is_empty() {
        path.push('/');
    }
    format!("/{path}")
}
