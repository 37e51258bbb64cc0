//! Whether a file is still the one that was read.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// What changes whenever a file is replaced or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Stamp {
    /// `None` if there is no file. Taken before reading, a change in between is seen next time.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some(Self { modified: metadata.modified().ok(), length: metadata.len(), inode })
    }
}

/// A file that is looked at from time to time.
#[derive(Debug)]
pub(crate) struct Watched {
    path: PathBuf,
    /// What was read last, whether it was any good or not.
    read: Option<Stamp>,
    /// At the last look.
    seen: Option<Stamp>,
}

impl Watched {
    /// A file of which `read` was read last; `None` if there was none.
    pub(crate) fn new(path: &Path, read: Option<Stamp>) -> Self {
        Self { path: path.to_owned(), read, seen: read }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another file is there than was read, and stays: whoever writes it may not be done at the first look.
    /// Then it counts as read.
    pub(crate) fn has_changed(&mut self) -> bool {
        let now = Stamp::of(&self.path);
        let is_settled = std::mem::replace(&mut self.seen, now) == now;
        let has_changed = is_settled && now != self.read;
        if has_changed {
            self.read = now;
        }
        has_changed
    }

    /// It is read now.
    pub(crate) fn note(&mut self) {
        self.read = Stamp::of(&self.path);
        self.seen = self.read;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_when_it_has_settled() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.toml");
        fs::write(&path, "one").unwrap();
        let mut watched = Watched::new(&path, Stamp::of(&path));
        assert!(!watched.has_changed());
        // As editors do: a new file under the old name; and as Kubernetes does: another target of a link.
        for text in ["longer", "longest"] {
            let other = home.path().join(text);
            fs::write(&other, text).unwrap();
            fs::remove_file(&path).unwrap();
            #[cfg(unix)]
            std::os::unix::fs::symlink(&other, &path).unwrap();
            #[cfg(not(unix))]
            fs::rename(&other, &path).unwrap();
            assert!(!watched.has_changed(), "it may not be whole yet");
            assert!(watched.has_changed() && !watched.has_changed());
        }
        fs::remove_file(&path).unwrap();
        assert!(!watched.has_changed() && watched.has_changed(), "none is another one, too");
        fs::write(&path, "back").unwrap();
        watched.note();
        assert!(!watched.has_changed());
    }
}
