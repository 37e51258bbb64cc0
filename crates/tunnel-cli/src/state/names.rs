//! The random names and ports this client was given (`names.json`), so that a restart doesn't change an address.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::files::{self, FileError};

/// How many are kept; the ones not used for longest go first.
const KEPT: usize = 200;

/// One tunnel's memory of its name. While it lives, no second client takes the same name for its own.
#[derive(Debug)]
pub(crate) struct Name {
    directory: PathBuf,
    key: String,
    former: Option<String>,
    /// Whether it is this client's: not if another one runs for the same upstream.
    is_ours: bool,
    /// What says so to others, where it can be locked.
    _lock: Option<File>,
}

impl Name {
    /// The memory of the tunnel of this `kind` from `server` to `upstream`.
    pub(crate) fn open(
        directory: &Path,
        server: &str,
        kind: &str,
        upstream: &str,
    ) -> Result<Self, FileError> {
        let key = format!("{kind} {upstream} via {server}");
        let plain = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' };
        let lock = directory.join("running").join(key.chars().map(plain).collect::<String>());
        let names = load(directory)?;
        let former = names.names.into_iter().find(|entry| entry.key == key).map(|entry| entry.name);
        // In a directory that can't be written, what there is can be read all the same.
        let (is_ours, lock) = match files::hold(&lock).or_else(|_| files::hold_existing(&lock)) {
            Ok(lock) => (lock.is_some(), lock),
            Err(_) => (true, None),
        };
        Ok(Self { directory: directory.to_owned(), key, former, is_ours, _lock: lock })
    }

    /// What the tunnel was called last, if the name is this client's to ask for.
    pub(crate) fn former(&self) -> Option<&str> {
        self.former.as_deref().filter(|_| self.is_ours)
    }

    /// Notes down what the tunnel is called now.
    pub(crate) fn remember(&mut self, name: &str) -> Result<(), FileError> {
        if !self.is_ours || self.former.as_deref() == Some(name) {
            return Ok(());
        }
        let _lock = files::lock(&self.directory)?;
        let mut names = load(&self.directory)?;
        names.version = 1;
        names.names.retain(|entry| entry.key != self.key);
        names.names.push(Entry { key: self.key.clone(), name: name.to_owned() });
        let surplus = names.names.len().saturating_sub(KEPT);
        names.names.drain(..surplus);
        files::write_json(&self.directory.join(FILE), &names)?;
        self.former = Some(name.to_owned());
        Ok(())
    }
}

fn load(directory: &Path) -> Result<Names, FileError> {
    Ok(files::read_json(&directory.join(FILE))?.unwrap_or_default())
}

#[derive(Default, Serialize, Deserialize)]
struct Names {
    version: u32,
    names: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    key: String,
    name: String,
}

const FILE: &str = "names.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_a_restart_and_belongs_to_one_upstream() {
        let home = tempfile::tempdir().unwrap();
        let open = |upstream: &str| Name::open(home.path(), "vps:4444", "http", upstream).unwrap();
        let mut name = open("localhost:3000");
        assert_eq!(name.former(), None);
        name.remember("brave-otter").unwrap();
        drop(name);
        assert_eq!(open("localhost:3000").former(), Some("brave-otter"));
        assert_eq!(open("localhost:3001").former(), None);
    }

    #[test]
    fn a_second_client_for_the_same_upstream_gets_a_name_of_its_own() {
        let home = tempfile::tempdir().unwrap();
        let open = || Name::open(home.path(), "vps:4444", "http", "localhost:3000").unwrap();
        let mut first = open();
        first.remember("brave-otter").unwrap();
        let mut second = open();
        assert_eq!(second.former(), None);
        second.remember("shy-newt").unwrap();
        drop((first, second));
        assert_eq!(open().former(), Some("brave-otter"), "the second one's name is not kept");
    }

    #[test]
    fn a_name_is_known_where_nothing_can_be_written() {
        let home = tempfile::tempdir().unwrap();
        let open = || Name::open(home.path(), "vps:4444", "http", "localhost:3000").unwrap();
        open().remember("brave-otter").unwrap();
        std::fs::remove_dir_all(home.path().join("running")).unwrap();
        // In the way of locks, also for root, who may write anywhere.
        std::fs::write(home.path().join("running"), "").unwrap();
        let mut name = open();
        assert_eq!(name.former(), Some("brave-otter"));
        name.remember("brave-otter").unwrap();
    }

    #[test]
    fn the_memory_is_bounded() {
        let home = tempfile::tempdir().unwrap();
        for port in 0..KEPT + 5 {
            let mut name = Name::open(home.path(), "vps:4444", "tcp", &format!("localhost:{port}")).unwrap();
            name.remember("20000").unwrap();
        }
        assert_eq!(load(home.path()).unwrap().names.len(), KEPT);
    }
}
