//! The database file: how it is opened, and how it becomes what this program expects.
//!
//! During an upgrade the former server still uses the file that the new one has migrated. So a migration only adds:
//! tables, and columns with defaults. What must be removed is removed one version later.

use std::{
    fs::{self, OpenOptions},
    io,
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::error::OpenError;

/// The file's name in the data directory.
pub(crate) const FILE: &str = "store.db";

/// How long a write waits for another process's.
const BUSY: Duration = Duration::from_secs(5);

/// Each brings the file from the version of its place to the next one.
const MIGRATIONS: &[&str] = &[include_str!("schema/1.sql")];

/// Opens the file, makes it if it isn't there, and brings it up to date.
pub(crate) fn open(path: &Path) -> Result<Connection, OpenError> {
    keep_private(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    let fails = |source| OpenError::Database { path: path.to_owned(), source };
    let mut connection = connect(path).map_err(fails)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found = version(&connection).map_err(fails)?;
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    if found < known {
        migrate(&mut connection).map_err(fails)?;
    }
    Ok(connection)
}

/// A further connection to a file that was opened before.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = reach(path, OpenFlags::default())?;
    // Readers never wait for the writer, and what was committed is there after `kill -9` and after a power cut.
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

/// A connection that writes nothing, to a file that is there.
pub(crate) fn look(path: &Path) -> rusqlite::Result<Connection> {
    reach(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

fn reach(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // SQLite means the whole path, and the directory may well be behind a link.
    let whole =
        path.parent().and_then(|directory| Some(directory.canonicalize().ok()?.join(path.file_name()?)));
    let flags = flags | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(whole.as_deref().unwrap_or(path), flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// Moves whenever another connection has written to the file.
pub(crate) fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0))
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// All steps in one transaction. Another process may have done them meanwhile, so it looks again once it may write.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = usize::try_from(version(&transaction)?).unwrap_or_default();
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(done) {
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", i64::try_from(step + 1).unwrap_or(i64::MAX))?;
    }
    transaction.commit()
}

/// Only the owner may read it. SQLite gives the files beside it the same mode.
///
/// Root's commands do this in a directory of the server's user, who may be up to something: no link is followed, and
/// what is changed is what was opened.
fn keep_private(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let file = open_itself(path)?;
        let metadata = file.metadata()?;
        if metadata.nlink() > 1 {
            // Somebody else's under another name, perhaps.
            return Ok(());
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
        let directory = path.parent().map(fs::metadata).transpose()?;
        if let Some(directory) =
            directory.filter(|directory| metadata.len() == 0 && directory.uid() != metadata.uid())
        {
            // Root makes it for the user that the server runs as, whose the directory is.
            std::os::unix::fs::fchown(&file, Some(directory.uid()), Some(directory.gid()))?;
        }
    }
    #[cfg(not(unix))]
    OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    Ok(())
}

/// Opens the file that has this name, and none that a link of this name leads to; makes it if there is none.
#[cfg(unix)]
fn open_itself(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    // Nothing is changed by opening it.
    let file = OpenOptions::new().write(true).open(path)?;
    let (opened, named) = (file.metadata()?, fs::symlink_metadata(path)?);
    if (opened.dev(), opened.ino()) == (named.dev(), named.ino()) {
        Ok(file)
    } else {
        Err(io::Error::other("it is a symbolic link, and none is followed"))
    }
}

#[cfg(test)]
mod tests;
