//! Ends what the bench started, however the bench itself ends.
//!
//! A bench that is killed can't clean up, and servers left running would disturb the next run. So a second process is
//! told of every child, and when its standard input ends, it kills those that are left.

use std::collections::HashSet;
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// The process that outlives us by a moment.
#[derive(Debug)]
pub(super) struct Keeper {
    child: Child,
    /// `None` once it was told all.
    told: Mutex<Option<ChildStdin>>,
}

impl Keeper {
    /// Starts it.
    ///
    /// # Errors
    /// When this very program can't be started again.
    pub(super) fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        // A group of its own: Ctrl-C is for us, and the keeper acts on our end.
        command.arg("bench-keeper").stdin(Stdio::piped()).process_group(0);
        let mut child = command.spawn().context("the keeper did not start")?;
        let told = Mutex::new(child.stdin.take());
        Ok(Self { child, told })
    }

    /// Starts a child that dies with us.
    ///
    /// # Errors
    /// When it can't be started, or the keeper is gone.
    pub(super) fn spawn(&self, command: &mut Command) -> Result<Child> {
        let child = command.process_group(0).spawn().with_context(|| format!("{command:?}"))?;
        self.tell(&format!("+{}", child.id()))?;
        Ok(child)
    }

    /// Kills a child and waits for its end.
    pub(super) fn end(&self, child: &mut Child) {
        // Neither can fail for a child that was not waited for yet.
        let _ = child.kill();
        let _ = child.wait();
        // A keeper that is gone kills nothing.
        let _ = self.tell(&format!("-{}", child.id()));
    }

    fn tell(&self, line: &str) -> Result<()> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let keeper = told.as_mut().context("the keeper is gone")?;
        writeln!(keeper, "{line}").context("the keeper is gone")
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        *self.told.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = self.child.wait();
    }
}

/// The keeper's own process: `cargo xtask bench-keeper`.
///
/// # Errors
/// When standard input can't be read.
pub(crate) fn run() -> Result<bool> {
    let mut kept = HashSet::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if let Some(pid) = line.strip_prefix('+') {
            kept.insert(pid.to_owned());
        } else if let Some(pid) = line.strip_prefix('-') {
            kept.remove(pid);
        }
    }
    for pid in kept.iter().filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw)) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
    Ok(true)
}
