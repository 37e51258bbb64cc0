//! What is written, and where.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::ask::Wishes;
use crate::{
    service::{
        account::Account,
        systemd::Host,
        unit::{Scope, USER},
    },
    state::files::{FileError, make_private},
};

/// Where everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) config: PathBuf,
    pub(super) data: PathBuf,
    pub(super) unit: PathBuf,
    /// Whether these are the system's own directories.
    pub(super) is_system: bool,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    /// It said the same.
    Unchanged,
    /// It says something else.
    Kept,
}

impl Place {
    /// The system's own directories, or all in one.
    pub(super) fn choose(host: &Host, dir: Option<&Path>) -> Self {
        match dir {
            None => Self {
                config: host.root.join("etc/tunnel/server.toml"),
                data: host.root.join("var/lib/tunnel"),
                unit: host.place("tunnel.service", Scope::System),
                is_system: true,
            },
            Some(dir) => {
                let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
                Self {
                    config: dir.join("server.toml"),
                    data: dir.join("data"),
                    unit: dir.join("tunnel.service"),
                    is_system: false,
                }
            }
        }
    }

    /// How to start the server by hand.
    pub(super) fn start_line(&self) -> String {
        if self.is_system && Path::new("/run/systemd/system").is_dir() {
            "systemctl enable --now tunnel".into()
        } else {
            format!("tunnel server --config {}", self.config.display())
        }
    }

    /// How to make a further token.
    pub(super) fn token_line(&self) -> String {
        if self.is_system {
            format!("sudo -u {USER} tunnel token create NAME")
        } else {
            format!("tunnel token create NAME --data-dir {}", self.data.display())
        }
    }
}

/// The configuration file.
pub(super) fn config_text(wishes: &Wishes, data: &Path) -> String {
    let text = |text: &str| toml::Value::String(text.to_owned());
    format!(
        "\
# Written by `tunnel server init`. Every flag of `tunnel server` can be here, with _ for -:
# see `tunnel server --help`, and after a change `tunnel config check`.
version = 1
domain = {}
control_port = {}
public_port = {}
data_dir = {}
",
        text(wishes.domain.as_str()),
        wishes.control_port,
        wishes.public_port,
        text(&data.to_string_lossy()),
    )
}

/// Writes the configuration: root's to change, the server's to read, and nobody else's.
pub(super) fn write_config(
    path: &Path,
    text: &str,
    owner: Option<Account>,
    force: bool,
) -> Result<Outcome, FileError> {
    let outcome = write_plain(path, text, force)?;
    if outcome == Outcome::Written {
        protect(path, owner).map_err(|source| FileError::Write { path: path.to_owned(), source })?;
    }
    Ok(outcome)
}

/// Writes a file that isn't there, or says something else and is to be replaced.
pub(super) fn write_plain(path: &Path, text: &str, force: bool) -> Result<Outcome, FileError> {
    match fs::read_to_string(path) {
        Ok(found) if found == text => return Ok(Outcome::Unchanged),
        Ok(_) if !force => return Ok(Outcome::Kept),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(FileError::Read { path: path.to_owned(), flag: None, source: error });
        }
        _ => {}
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    let written = fs::create_dir_all(directory).and_then(|()| fs::write(path, text));
    written.map_err(|source| FileError::Write { path: path.to_owned(), source })?;
    Ok(Outcome::Written)
}

/// The data directory, which is the server's alone.
pub(super) fn make_data(path: &Path, owner: Option<Account>) -> Result<(), FileError> {
    make_private(path)?;
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt, chown};
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        if let Some(Account { uid, gid }) = owner {
            hand_over(path, Account { uid, gid }).map_err(failed)?;
            chown(path, Some(uid), Some(gid)).map_err(failed)?;
        }
    }
    #[cfg(not(unix))]
    let _ = (owner, failed as fn(io::Error) -> FileError);
    Ok(())
}

/// Gives the server's user what is here of a server that root tried before. Links aren't followed, and a file with a
/// second name may be anybody's.
#[cfg(unix)]
fn hand_over(directory: &Path, Account { uid, gid }: Account) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, lchown};
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let found = entry.metadata()?;
        if found.is_file() && found.nlink() == 1 {
            lchown(entry.path(), Some(uid), Some(gid))?;
        }
    }
    Ok(())
}

fn protect(path: &Path, owner: Option<Account>) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt, chown};
        if let Some(Account { gid, .. }) = owner {
            chown(path, None, Some(gid))?;
        }
        let mode = if owner.is_some() { 0o640 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }
    #[cfg(not(unix))]
    {
        let _ = (path, owner);
        Ok(())
    }
}
