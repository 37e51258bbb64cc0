//! `tunnel service`: a server or client that the system starts, keeps running, and starts again.
//!
//! Only systemd is known; elsewhere a person is told what to have started.

pub(crate) mod account;
pub(crate) mod systemd;
pub(crate) mod unit;

use std::{io, path::PathBuf};

/// Why a service can't be put in its place, removed or asked about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Something else starts services here.
    #[error(
        "systemd doesn't run this machine; have what does start this at boot, and again when it ends: {command}"
    )]
    NoSystemd {
        /// What to have started.
        command: String,
    },
    /// There is nothing that the service could be told.
    #[error("there is no {}; {next}", path.display())]
    NoConfig {
        /// The file.
        path: PathBuf,
        /// How to get one.
        next: String,
    },
    /// The file is somebody else's work.
    #[error("{} was not written by this program, so it stays; move it away, or use --force", .0.display())]
    Foreign(PathBuf),
    /// A file.
    #[error("cannot write {}; run this as root, or add --print and do it by hand", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// systemd's program can't be called.
    #[error("cannot run `{command}`; is systemd's `systemctl` installed?")]
    NoSystemctl {
        /// What would have been run.
        command: String,
        /// Why not.
        source: io::Error,
    },
    /// systemd says no.
    #[error("`{command}` failed: {said}; see: journalctl -e")]
    Systemctl {
        /// What was run.
        command: String,
        /// Its last line.
        said: String,
    },
    /// It doesn't run.
    #[error("{name} is {state}; why, if it should run: systemctl{user} status {name}")]
    NotActive {
        /// Which.
        name: &'static str,
        /// What `systemctl` must be told to find it.
        user: &'static str,
        /// What systemd calls that.
        state: String,
    },
    /// There is no such service.
    #[error("{name} isn't installed; run: tunnel service install {how}")]
    NotInstalled {
        /// Which.
        name: &'static str,
        /// What to install.
        how: &'static str,
    },
    /// There is no user for the server, and none can be made.
    #[error("the server's user can't be made ({said}); make it by hand, then run this again: {command}")]
    NoUser {
        /// How to make it.
        command: String,
        /// What went wrong.
        said: String,
    },
}

#[cfg(test)]
mod tests;
