//! A child under measurement: its CPU time and resident memory, as Linux counts them, and its end with its guard.

use std::fs;
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::keeper::Keeper;

/// `USER_HZ`: what `/proc/PID/stat` counts CPU time in, on every architecture Rust has Linux for.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process<'k> {
    child: Child,
    keeper: &'k Keeper,
}

impl<'k> Process<'k> {
    /// Starts `command`.
    ///
    /// # Errors
    /// When it can't be started.
    pub(super) fn start(keeper: &'k Keeper, command: &mut Command) -> Result<Self> {
        Ok(Self { child: keeper.spawn(command)?, keeper })
    }

    /// The child, for its pipes.
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// CPU seconds used since its start, in user and system mode, by all of its threads. To 0.01 s.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let text = self.proc_file("stat")?;
        let ticks = cpu_ticks(&text).with_context(|| format!("an odd /proc/PID/stat: {text}"))?;
        Ok(ticks / TICKS_PER_SECOND)
    }

    /// Resident memory in KiB. The kernel's socket buffers are not in it.
    pub(super) fn resident_kib(&self) -> Result<f64> {
        self.status_kib("VmRSS:")
    }

    /// Resident memory in KiB that is this process's own: without its program, which is pages of a file.
    pub(super) fn private_kib(&self) -> Result<f64> {
        self.status_kib("RssAnon:")
    }

    fn status_kib(&self, field: &str) -> Result<f64> {
        let text = self.proc_file("status")?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)).context("the process has ended")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Fails once the child has ended.
    pub(super) fn ensure_alive(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "it ended by itself: {}", ended.unwrap_or_default());
        Ok(())
    }

    fn proc_file(&self, name: &str) -> Result<String> {
        let path = format!("/proc/{}/{name}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("reading {path}"))
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        self.keeper.end(&mut self.child);
    }
}

/// Lets this process and its children have as many files open as the system allows: a thousand visitors need them.
pub(super) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Without it, the suite that needs them says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// `utime` and `stime`, fields 14 and 15 (proc_pid_stat(5)). The second field may itself hold spaces and brackets.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_any_name() {
        let stat = "42 (a) (b c) S 1 42 42 0 -1 4194560 100 0 0 0 17 25 3 4 20 0 5 0 100 1000 50";
        assert_eq!(cpu_ticks(stat), Some(42.0));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
    }
}
