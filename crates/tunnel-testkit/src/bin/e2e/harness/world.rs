//! One scenario's world: its own directory, its own homes, and everything its processes say.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use tempfile::TempDir;
use tokio::process::Command;

use super::{Outcome, Process, Told, output::Output, within};

/// One scenario's world.
#[derive(Debug)]
pub(crate) struct World {
    /// Whether to take the long way: hours of soak instead of seconds.
    pub(crate) long: bool,
    binary: PathBuf,
    directory: TempDir,
    outputs: Mutex<Vec<Arc<Output>>>,
}

/// A command that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// The exit status; `None` after a signal.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// How many lines of each process are shown when a scenario failed.
const SHOWN: usize = 40;

impl World {
    pub(crate) fn new(binary: PathBuf, long: bool) -> Outcome<Self> {
        let directory = tempfile::tempdir().told("a directory for the scenario")?;
        Ok(Self { long, binary, directory, outputs: Mutex::default() })
    }

    /// One of two: the figure for every day, or that for `--long`.
    pub(crate) fn pick<T>(&self, short: T, long: T) -> T {
        if self.long { long } else { short }
    }

    /// A path in the scenario's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The binary, as somebody whose home is `home` would run it, with nothing of this process's environment.
    pub(crate) fn tunnel<S: AsRef<OsStr>>(
        &self,
        home: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = self.command(&self.binary, home);
        command.args(arguments);
        command
    }

    /// The binary started through a shell, which first does what `prelude` says.
    pub(crate) fn tunnel_after<S: AsRef<OsStr>>(
        &self,
        home: &str,
        prelude: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = self.command(Path::new("/bin/sh"), home);
        command.arg("-c").arg(format!("{prelude}; exec \"$@\"")).arg("sh").arg(&self.binary).args(arguments);
        command
    }

    /// Puts the binary at `path`, in the place of what was there.
    pub(crate) fn install(&self, path: &Path) -> Outcome {
        let new = path.with_extension("new");
        std::fs::copy(&self.binary, &new)?;
        Ok(std::fs::rename(new, path)?)
    }

    /// Where the binary is.
    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// Any other program, in the same way.
    pub(crate) fn command(&self, program: &Path, home: &str) -> Command {
        let home = self.path(home);
        let mut command = Command::new(program);
        command.env_clear().env("HOME", &home).env("RUST_BACKTRACE", "1");
        for (variable, folder) in [
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_RUNTIME_DIR", "runtime"),
        ] {
            command.env(variable, home.join(folder));
        }
        command.current_dir(self.directory.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Starts a process and keeps what it says.
    pub(crate) fn start(&self, name: &str, command: Command) -> Outcome<Process> {
        let output = Arc::new(Output::new(name));
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).push(output.clone());
        Process::start(command, output)
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, mut command: Command) -> Outcome<Ended> {
        let output = within("a command's end", command.output()).await??;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Ended { status: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
    }

    /// Shows the last that each process said.
    pub(crate) fn print_output(&self) {
        for output in self.outputs.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            output.print_tail(SHOWN);
        }
    }
}
