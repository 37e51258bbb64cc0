//! Servers and tokens that `tunnel login` has saved (`logins.json`).

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::files::{self, FileError};

/// One saved server. The newest is the default.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedLogin {
    /// The control port, as `host:port`.
    pub(crate) server: String,
    /// The token's text.
    pub(crate) token: String,
    /// The issuer to trust instead of the token's pin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Whether the server runs without TLS.
    #[serde(default)]
    pub(crate) plaintext: bool,
}

/// All saved logins, the newest last.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Logins {
    version: u32,
    logins: Vec<SavedLogin>,
}

impl Logins {
    /// What is saved in a state directory.
    pub(crate) fn load(directory: &Path) -> Result<Self, FileError> {
        Ok(files::read_json(&directory.join(FILE))?.unwrap_or_default())
    }

    /// Saves one more, or replaces the one for the same server, and makes it the default.
    pub(crate) fn remember(directory: &Path, login: SavedLogin) -> Result<PathBuf, FileError> {
        let _lock = files::lock(directory)?;
        let mut all = Self::load(directory)?;
        all.version = 1;
        all.logins.retain(|saved| saved.server != login.server);
        all.logins.push(login);
        let path = directory.join(FILE);
        files::write_json(&path, &all)?;
        Ok(path)
    }

    /// The login for a server.
    pub(crate) fn of(&self, server: &str) -> Option<&SavedLogin> {
        self.logins.iter().find(|saved| saved.server == server)
    }

    /// The login that was saved last.
    pub(crate) fn newest(&self) -> Option<&SavedLogin> {
        self.logins.last()
    }
}

impl fmt::Debug for SavedLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedLogin").field("server", &self.server).finish_non_exhaustive()
    }
}

const FILE: &str = "logins.json";

#[cfg(test)]
mod tests {
    use super::*;

    fn login(server: &str, token: &str) -> SavedLogin {
        SavedLogin { server: server.into(), token: token.into(), ca_file: None, plaintext: false }
    }

    #[test]
    fn the_newest_is_the_default_and_each_server_has_one() {
        let home = tempfile::tempdir().unwrap();
        assert!(Logins::load(home.path()).unwrap().newest().is_none());
        for (server, token) in [("a:1", "first"), ("b:1", "second"), ("a:1", "third")] {
            Logins::remember(home.path(), login(server, token)).unwrap();
        }
        let logins = Logins::load(home.path()).unwrap();
        assert_eq!(logins.newest(), Some(&login("a:1", "third")));
        assert_eq!(logins.of("b:1"), Some(&login("b:1", "second")));
        assert_eq!(logins.of("c:1"), None);
        assert!(!format!("{logins:?}").contains("third"), "tokens stay out of logs");
    }

    #[cfg(unix)]
    #[test]
    fn others_can_read_neither_file_nor_directory() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let path = Logins::remember(&home.path().join("tunnel"), login("a:1", "t")).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }
}
