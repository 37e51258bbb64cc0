//! Ends what the bench started, however the bench itself ends.
//!
//! A bench that is killed can't clean up, and servers left running would disturb the next run. So a second process is
//! told of every child, and when its standard input ends, it kills those that are left.

use std::collections::HashSet;
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// The process that outlives us by a moment.
#[derive(Debug)]
pub(super) struct Keeper {
    child: Child,
}

/// Where the keeper is told of children.
static TOLD: Mutex<Option<std::process::ChildStdin>> = Mutex::new(None);

impl Keeper {
    /// Starts it.
    pub(super) fn start() -> Result<Self> {
        let myself = std::env::current_exe().context("the path of this program")?;
        let mut command = Command::new(myself);
        // A group of its own: Ctrl-C is for us, and the keeper acts on our end.
        command.arg("bench-keeper").stdin(Stdio::piped()).process_group(0);
        let mut child = command.spawn().context("the keeper did not start")?;
        *TOLD.lock().unwrap_or_else(PoisonError::into_inner) = child.stdin.take();
        Ok(Self { child })
    }
}
