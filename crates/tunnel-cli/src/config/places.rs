//! Where files are looked for when nobody names one.

use std::path::PathBuf;

use etcetera::{BaseStrategy, choose_base_strategy};

use super::Side;

/// Where a side's file is, if there is a place for it. Handed in, so that tests don't depend on where they run.
pub(crate) type DefaultPlaces<'a> = &'a dyn Fn(Side) -> Option<PathBuf>;

/// For the server `/etc/tunnel/server.toml` if it is root's, else `server.toml`, and for clients `client.toml`, in
/// `$XDG_CONFIG_HOME/tunnel`, or what the system has instead.
pub(crate) fn default_place(side: Side) -> Option<PathBuf> {
    #[cfg(unix)]
    if side == Side::Server && rustix::process::geteuid().is_root() {
        return Some("/etc/tunnel/server.toml".into());
    }
    let directory = choose_base_strategy().ok()?.config_dir().join("tunnel");
    Some(directory.join(match side {
        Side::Server => "server.toml",
        Side::Client => "client.toml",
    }))
}
