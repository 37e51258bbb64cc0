//! Where state is kept when nobody says.

#[cfg(unix)]
use std::path::Path;
use std::path::PathBuf;

use etcetera::{BaseStrategy, choose_base_strategy};

use super::files::FileError;
#[cfg(unix)]
use super::files::make_private;

/// The server's place when it runs as a system service.
#[cfg(unix)]
const SYSTEM: &str = "/var/lib/tunnel";

/// The server's data directory: the one given, else `/var/lib/tunnel` for root and for whom it belongs to, as the
/// service's own user, else `$XDG_DATA_HOME/tunnel/server`.
pub(crate) fn server_data(given: Option<PathBuf>) -> Result<PathBuf, FileError> {
    if let Some(given) = given {
        return Ok(given);
    }
    #[cfg(unix)]
    if has_system_place(Path::new(SYSTEM)) {
        return Ok(SYSTEM.into());
    }
    let base = choose_base_strategy()
        .map_err(|_| FileError::NoPlace { what: "the server's data", flag: "--data-dir" })?;
    Ok(base.data_dir().join("tunnel/server"))
}

/// The data directory of a server that is to be told something: the same, unless there was never one here, but is one
/// in the system's place. What would be made here then, a token say, would be worth nothing to that.
pub(crate) fn known_server_data(given: Option<PathBuf>) -> Result<PathBuf, FileError> {
    let is_given = given.is_some();
    let data = server_data(given)?;
    #[cfg(unix)]
    if !is_given && is_elsewhere(&data, Path::new(SYSTEM)) {
        return Err(FileError::Foreign { path: SYSTEM.into() });
    }
    #[cfg(not(unix))]
    let _ = is_given;
    Ok(data)
}

#[cfg(unix)]
fn is_elsewhere(data: &Path, system: &Path) -> bool {
    data != system && !data.exists() && system.exists()
}

#[cfg(unix)]
fn has_system_place(place: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::geteuid();
    if user.is_root() {
        // Even root has file systems that are read-only.
        return make_private(place).is_ok();
    }
    std::fs::metadata(place).is_ok_and(|found| found.uid() == user.as_raw())
}

/// The client's state directory: the one given, else `$XDG_STATE_HOME/tunnel`.
pub(crate) fn client_state(given: Option<PathBuf>) -> Result<PathBuf, FileError> {
    if let Some(given) = given {
        return Ok(given);
    }
    let base = choose_base_strategy()
        .map_err(|_| FileError::NoPlace { what: "the client's state", flag: "--state-dir" })?;
    Ok(base.state_dir().unwrap_or_else(|| base.data_dir()).join("tunnel"))
}

/// Where this person's systemd units are.
pub(crate) fn user_units() -> Result<PathBuf, FileError> {
    Ok(config_home()?.join("systemd/user"))
}

/// Where this person's configuration of tunnels is.
pub(crate) fn user_config() -> Result<PathBuf, FileError> {
    Ok(config_home()?.join("tunnel"))
}

fn config_home() -> Result<PathBuf, FileError> {
    let base = choose_base_strategy()
        .map_err(|_| FileError::NoPlace { what: "this user's configuration", flag: "HOME" })?;
    Ok(base.config_dir())
}

/// This machine's name, for people; empty if it has none.
pub(crate) fn machine() -> String {
    #[cfg(unix)]
    return rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    return String::new();
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_token_isnt_made_beside_the_server() {
        let home = tempfile::tempdir().unwrap();
        let [own, system] = ["own", "system"].map(|name| home.path().join(name));
        assert!(!is_elsewhere(&own, &system), "there is no server at all");
        std::fs::create_dir(&system).unwrap();
        assert!(is_elsewhere(&own, &system));
        assert!(!is_elsewhere(&system, &system));
        std::fs::create_dir(&own).unwrap();
        assert!(!is_elsewhere(&own, &system), "this user has one, too");
    }

    #[test]
    fn the_system_place_is_whose_it_is() {
        let home = tempfile::tempdir().unwrap();
        assert!(has_system_place(home.path()), "it was made by this user");
        let is_root = rustix::process::geteuid().is_root();
        assert_eq!(has_system_place(Path::new("/etc")), is_root);
        assert_eq!(has_system_place(&home.path().join("new")), is_root, "root makes it");
    }
}
