//! How this process was started, so that another one can be started in its place.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use crate::env::Environment;

/// Set for a process that takes over from the one that started it: its standard input is the way to talk to that.
pub(crate) const SUCCESSOR: &str = "TUNNEL_SUCCESSOR";

/// The program, as it was called. What is at its path may be another file by now: that is what an upgrade starts.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Where it was found; none if nobody knows.
    pub(crate) path: Option<PathBuf>,
    /// What it was told, without its name.
    pub(crate) arguments: Vec<OsString>,
    /// Whether it takes over from another process.
    pub(crate) is_successor: bool,
    /// What the sockets are called that a service manager passed on.
    pub(crate) socket_names: Vec<String>,
}

impl Program {
    /// Reads it from a command line (with the program's name first) and the environment. `here` is the working
    /// directory, and `running` the file that the system says is running, whose links are resolved.
    pub fn read(
        command_line: &[OsString],
        environment: Environment<'_>,
        here: Option<PathBuf>,
        running: Option<PathBuf>,
    ) -> Self {
        let called = command_line.first().map(Path::new);
        let found = called.and_then(|called| find(called, environment("PATH"), here));
        let names = environment("LISTEN_FDNAMES").and_then(|names| names.into_string().ok());
        Self {
            // As it was called, and not as the system resolved it: a link may lead to a newer version by then.
            path: found.or(running),
            arguments: command_line.iter().skip(1).cloned().collect(),
            is_successor: environment(SUCCESSOR).is_some(),
            socket_names: names
                .map(|names| names.split(':').map(str::to_owned).collect())
                .unwrap_or_default(),
        }
    }
}

/// A program as a shell finds it: by its path, or in `PATH` if it was called by name.
fn find(called: &Path, path: Option<OsString>, here: Option<PathBuf>) -> Option<PathBuf> {
    let is_name = called.components().count() == 1 && called.file_name() == Some(called.as_os_str());
    if !is_name || called.as_os_str().to_string_lossy().contains('/') {
        return here.map(|here| here.join(called)).filter(|path| path.is_file());
    }
    let path = path.unwrap_or_default();
    let directories = std::env::split_paths::<OsStr>(&path);
    directories.map(|directory| directory.join(called)).find(|path| path.is_absolute() && path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_as_a_shell_would() {
        let home = tempfile::tempdir().unwrap();
        let bin = home.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let there = bin.join("tunnel");
        std::fs::write(&there, "").unwrap();
        let path = OsString::from(format!("/nowhere:{}", bin.display()));
        let program = |called: &str| {
            let line: Vec<OsString> = [called, "server", "--hold", "1s"].map(Into::into).into();
            let environment = |name: &str| match name {
                "PATH" => Some(path.clone()),
                "LISTEN_FDNAMES" => Some("web:control".into()),
                _ => None,
            };
            Program::read(&line, &environment, Some(home.path().into()), Some("/proc/resolved".into()))
        };
        for called in ["tunnel", "bin/tunnel", "./bin/tunnel", &there.display().to_string()] {
            let found = program(called).path.unwrap();
            assert_eq!(found.canonicalize().unwrap(), there.canonicalize().unwrap(), "{called}");
        }
        let unknown = program("elsewhere/tunnel");
        assert_eq!(unknown.path.unwrap(), Path::new("/proc/resolved"));
        assert_eq!(unknown.arguments, ["server", "--hold", "1s"]);
        assert!(!unknown.is_successor);
        assert_eq!(unknown.socket_names, ["web", "control"]);
    }
}
