//! Reading and writing state files: readable by their owner alone, and whole after any crash.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It can't be read.
    #[error("cannot read {}{}", path.display(), named_by(*flag))]
    Read {
        /// Which.
        path: PathBuf,
        /// The flag that names it, if one does.
        flag: Option<&'static str>,
        /// Why.
        source: io::Error,
    },
    /// It can't be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It doesn't hold what it should.
    #[error("{}: {reason}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It is secret, and others can read it.
    #[error("{} is secret and others can read it (mode {mode:03o}); run: chmod 600 {}", path.display(), path.display())]
    TooOpen {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// There is a server on this machine, but another user's.
    #[error(
        "the server of this machine has its data in {}, which is another user's: run this as that user, as in `sudo -u \
         tunnel tunnel …`, or name the directory of another server with --data-dir", path.display()
    )]
    Foreign {
        /// Its directory.
        path: PathBuf,
    },
    /// No place to keep it is known.
    #[error("no home directory is known, so there is no place for {what}; name one with {flag}")]
    NoPlace {
        /// What would be kept.
        what: &'static str,
        /// The flag that names a place.
        flag: &'static str,
    },
}

fn named_by(flag: Option<&'static str>) -> String {
    flag.map(|flag| format!(" ({flag})")).unwrap_or_default()
}

impl FileError {
    /// The same with the flag that names the file.
    pub(crate) fn naming<'a>(mut self, flags: impl IntoIterator<Item = (&'a PathBuf, &'static str)>) -> Self {
        if let Self::Read { path, flag, .. } = &mut self {
            *flag = flags.into_iter().find(|(named, _)| *named == path).map(|(_, flag)| flag);
        }
        self
    }

    pub(crate) fn content(path: &Path, reason: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), reason: reason.into() }
    }
}

/// A file's bytes; `None` if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Read { path: path.to_owned(), flag: None, source }),
    }
}

/// The bytes of a file that must be there.
pub(crate) fn read_existing(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|source| FileError::Read { path: path.to_owned(), flag: None, source })
}

/// The bytes of a file that a flag names.
pub(crate) fn read_named(path: &Path, flag: &'static str) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|source| FileError::Read { path: path.to_owned(), flag: Some(flag), source })
}

/// A JSON file's value; `None` if there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    let value =
        serde_json::from_slice(&bytes).map_err(|error| FileError::content(path, error.to_string()))?;
    Ok(Some(value))
}

/// Replaces a file, readable by its owner alone; its directory is made if need be.
///
/// After a crash at any moment the file is the former or the new one, whole.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    let directory = path.parent().unwrap_or(Path::new("."));
    make_private(directory)?;
    let temporary = directory.join(temporary_name(path).map_err(failed)?);
    let written = write_new(&temporary, bytes)
        .and_then(|file| hand_over(&file, directory))
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // It may not even exist.
        let _ = fs::remove_file(&temporary);
        return Err(failed(error));
    }
    // The name is on disk only once the directory is. Some file systems can't do this, and lose nothing by it.
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
    Ok(())
}

/// The same, for a value as JSON.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|error| FileError::content(path, error.to_string()))?;
    bytes.push(b'\n');
    write(path, &bytes)
}

/// Keeps other processes from changing the directory's files, from reading one to writing it, until dropped.
pub(crate) fn lock(directory: &Path) -> Result<File, FileError> {
    make_private(directory)?;
    let path = directory.join(".lock");
    let failed = |source| FileError::Write { path: path.clone(), source };
    let file = open_private(OpenOptions::new().create(true).truncate(false), &path).map_err(failed)?;
    hand_over(&file, directory).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

/// Takes a lock that lasts as long as the process; `None` if another has it.
pub(crate) fn hold(path: &Path) -> io::Result<Option<File>> {
    let directory = path.parent().unwrap_or(Path::new("."));
    make_private(directory).map_err(io::Error::other)?;
    let file = open_private(OpenOptions::new().create(true).truncate(false), path)?;
    hand_over(&file, directory)?;
    locked(file)
}

/// The same, where nothing can be written: a file that is there.
pub(crate) fn hold_existing(path: &Path) -> io::Result<Option<File>> {
    locked(File::open(path)?)
}

fn locked(file: File) -> io::Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// The permissions by which others than the owner can read a file; `None` if they can't.
pub(crate) fn open_to_others(path: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
        (mode & 0o077 != 0).then_some(mode)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// The permissions by which everyone can read a file; `None` if not everyone can. A group may well be meant to.
pub(crate) fn readable_by_all(path: &Path) -> Option<u32> {
    open_to_others(path).filter(|mode| mode & 0o004 != 0)
}

/// Makes a directory that its owner alone may enter; one that exists stays as it is.
pub(crate) fn make_private(directory: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let made = builder.create(directory);
    // Of a file in the way it would say that it exists.
    let made = made.map_err(|error| fs::read_dir(directory).err().unwrap_or(error));
    made.map_err(|source| FileError::Write { path: directory.to_owned(), source })
}

/// Whether a directory is there or can be made, as far as that can be said without making it: whatever is there of its
/// path is one.
pub(crate) fn check_directory(directory: &Path) -> Result<(), FileError> {
    let there = directory.ancestors().find_map(|place| fs::metadata(place).ok());
    if there.is_none_or(|there| there.is_dir()) {
        return Ok(());
    }
    let source = io::ErrorKind::NotADirectory.into();
    Err(FileError::Write { path: directory.to_owned(), source })
}

/// Gives a file that root has made to whoever owns its directory: the server's own user must be able to read what
/// an administrator changes beside it. That user may be up to something: whatever has another name elsewhere stays whose
/// it is, and no name is looked up a second time.
fn hand_over(file: &File, directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if rustix::process::geteuid().is_root() {
        use std::os::unix::fs::{MetadataExt, fchown};
        let (owner, found) = (fs::metadata(directory)?, file.metadata()?);
        if found.is_file() && found.nlink() <= 1 {
            fchown(file, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    #[cfg(not(unix))]
    let _ = (file, directory);
    Ok(())
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = open_private(OpenOptions::new().create_new(true), path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(file)
}

/// Never by a symbolic link: root writes in the directory of the server's user, who could have it write anywhere.
fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    options.write(true).open(path)
}

fn temporary_name(path: &Path) -> io::Result<String> {
    let random = getrandom::u64()?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!(".{name}.{random:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b/state.json");
        assert!(read(&path).unwrap().is_none());
        write(&path, b"a long first version").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"second");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_write_that_fails_leaves_the_former_file() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state");
        // A directory with something in it can't be replaced by a file.
        fs::create_dir_all(path.join("inside")).unwrap();
        assert!(matches!(write(&path, b"new"), Err(FileError::Write { .. })));
        assert!(path.join("inside").exists());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn writers_at_once_never_mix() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state");
        std::thread::scope(|scope| {
            for letter in [b'a', b'b', b'c'] {
                let path = &path;
                scope.spawn(move || (0..20).for_each(|_| write(path, &[letter; 10_000]).unwrap()));
            }
        });
        let bytes = read(&path).unwrap().unwrap();
        assert_eq!(bytes.len(), 10_000);
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
    }

    #[cfg(unix)]
    #[test]
    fn files_and_directories_are_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("tunnel/secret");
        write(&path, b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(open_to_others(&path), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(open_to_others(&path), Some(0o640));
    }

    /// Root's commands work in a directory that the server's user owns.
    #[cfg(unix)]
    #[test]
    fn a_link_that_was_laid_in_the_way_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let (data, elsewhere) = (home.path().join("data"), home.path().join("elsewhere"));
        fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink(&elsewhere, data.join(".lock")).unwrap();
        assert!(matches!(lock(&data), Err(FileError::Write { .. })));
        assert!(hold(&data.join(".lock")).is_err());
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_lock_is_held_until_dropped() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("running/one");
        let held = hold(&path).unwrap().unwrap();
        assert!(hold(&path).unwrap().is_none());
        assert!(hold_existing(&path).unwrap().is_none());
        drop(held);
        assert!(hold_existing(&path).unwrap().is_some());
    }
}
