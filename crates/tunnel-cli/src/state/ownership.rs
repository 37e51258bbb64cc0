//! Whose a data directory is (`server.lock`): two servers may have the same one, but the file of leases can only be
//! one's, or each would write over what the other one's clients hold.
//!
//! The lock belongs to the open file, which an upgrade passes on: as long as the old or the new process has it open, no
//! other server gets it, and none has to be taken away from one that was killed.

use std::{fs::File, path::Path, sync::Arc};

use super::files::{self, FileError};

/// The lock, as long as it lives; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Ownership(Arc<File>);

impl Ownership {
    /// The lock of a data directory; `None` if another server has it.
    pub(crate) fn take(directory: &Path) -> Result<Option<Self>, FileError> {
        let path = directory.join(FILE);
        let held = files::hold(&path).map_err(|source| FileError::Write { path, source })?;
        Ok(held.map(Self::from))
    }

    /// The open file, for a successor.
    #[cfg(unix)]
    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

impl From<File> for Ownership {
    /// The lock that a predecessor passed on.
    fn from(file: File) -> Self {
        Self(Arc::new(file))
    }
}

const FILE: &str = "server.lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_servers_and_then_its_successors() {
        let home = tempfile::tempdir().unwrap();
        let old = Ownership::take(home.path()).unwrap().unwrap();
        assert!(Ownership::take(home.path()).unwrap().is_none());
        let new = Ownership::from(old.0.try_clone().unwrap());
        drop(old);
        assert!(Ownership::take(home.path()).unwrap().is_none(), "the successor has it");
        drop(new);
        assert!(Ownership::take(home.path()).unwrap().is_some());
    }

    #[test]
    fn what_cannot_be_locked_is_named() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(FILE)).unwrap();
        let error = Ownership::take(home.path()).unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
    }
}
