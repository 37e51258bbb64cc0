//! Two network namespaces, gone when they are dropped.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::bench::keeper::Keeper;
use crate::bench::place::Place;
use crate::bench::process::Process;

/// The server's address on the link.
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// The client's.
const HOME: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// The hosts. Their names are this run's own.
#[derive(Debug)]
pub(super) struct Namespaces {
    server: String,
    home: String,
}

impl Namespaces {
    /// Makes them.
    ///
    /// # Errors
    /// When `ip` says no.
    pub(super) fn new() -> Result<Self> {
        let name = |side| format!("tunnel-bench-{side}-{}", std::process::id());
        let namespaces = Self { server: name("vps"), home: name("home") };
        for name in [&namespaces.server, &namespaces.home] {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        Ok(namespaces)
    }

    pub(super) fn place(&self) -> Place {
        Place::Apart { server: SERVER, home: HOME, namespace: self.home.clone() }
    }

    /// Moves this thread, and all that it starts from now on, to the server's host.
    ///
    /// # Errors
    /// When the kernel says no.
    pub(super) fn enter_server(&self) -> Result<()> {
        enter(&self.server)
    }

    /// A link between them, until it is dropped.
    ///
    /// # Errors
    /// When this very program can't be started again, or there is no `/dev/net/tun`.
    pub(super) fn link<'k>(
        &self,
        keeper: &'k Keeper,
        delay_ms: u32,
        mbit: u32,
        loss_per_mille: u32,
    ) -> Result<Process<'k>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench-link", &format!("{}={SERVER}", self.server), &format!("{}={HOME}", self.home)]);
        for (flag, value) in
            [("--delay-ms", delay_ms), ("--mbit", mbit), ("--loss-per-mille", loss_per_mille)]
        {
            command.args([flag, &value.to_string()]);
        }
        let mut process = Process::start(keeper, command.stdout(Stdio::piped()))?;
        let output = process.child().stdout.take().context("invariant: stdout was piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line.trim() == "up", "the link did not come up");
        Ok(process)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in [&self.server, &self.home] {
            // It may be what could not be made.
            let _ = ip(&["netns", "del", name]);
        }
    }
}

/// Moves this thread into a network namespace.
pub(super) fn enter(name: &str) -> Result<()> {
    let file = File::open(format!("/run/netns/{name}")).with_context(|| format!("the namespace {name}"))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).context("setns")
}

/// Runs `ip`.
pub(super) fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("`ip` did not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), said.trim());
    Ok(())
}
