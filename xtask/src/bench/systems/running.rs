//! A system under measurement: its processes, where visitors find it, and what it uses.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Service;
use crate::bench::keeper::Keeper;
use crate::bench::load;
use crate::bench::place::Place;
use crate::bench::process::Process;

/// How long a system may take to start, unless it is large.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at something that has no event to wait for: another program's output, another program's port.
const LOOK: Duration = Duration::from_millis(20);
/// Of how many processes it is shown what they said when one failed.
const PROCESSES_SHOWN: usize = 4;
/// How much of what a process said is shown when it failed, in bytes.
const SHOWN: usize = 2000;

/// The processes of a system, and a directory of theirs; both gone when it is dropped.
#[derive(Debug)]
pub(in crate::bench) struct Running<'k> {
    // Before the directory: it can be removed once nobody writes there.
    processes: Vec<Named<'k>>,
    keeper: &'k Keeper,
    place: &'k Place,
    directory: tempfile::TempDir,
    target: SocketAddr,
    host: String,
    patience: Duration,
}

#[derive(Debug)]
struct Named<'k> {
    name: &'static str,
    /// The name, and from the second of it on a number.
    label: String,
    process: Process<'k>,
}

/// The name of the public side's process.
pub(super) const SERVER: &str = "server";
/// The name of the private side's process.
pub(super) const CLIENT: &str = "client";

/// Resident memory, KiB.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Resident {
    /// Of the public side.
    pub(in crate::bench) server: f64,
    /// Of the private side, all clients together.
    pub(in crate::bench) client: f64,
    /// Of both, what is their own rather than pages of their programs.
    pub(in crate::bench) private: f64,
}

/// For those who start a system.
impl<'k> Running<'k> {
    pub(super) fn new(keeper: &'k Keeper, place: &'k Place) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("tunnel-bench-").tempdir()?;
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (processes, host) = (Vec::new(), String::new());
        Ok(Self { processes, keeper, place, directory, target, host, patience: PATIENCE })
    }

    /// Where its two sides are.
    pub(super) fn place(&self) -> &'k Place {
        self.place
    }

    /// A directory for the system's files.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where visitors come in, and what they call it.
    pub(super) fn target(&mut self, target: SocketAddr, host: String) {
        (self.target, self.host) = (target, host);
    }

    /// Lets it take longer to start.
    pub(super) fn be_patient(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Runs a program of the system as [`SERVER`] or [`CLIENT`], of which there may be several, knowing nothing of this
    /// user's home and settings. Gives what this one is called.
    pub(super) fn run(&mut self, name: &'static str, binary: &Path, arguments: &[&str]) -> Result<String> {
        let label = match self.processes.iter().filter(|named| named.name == name).count() {
            0 => name.to_owned(),
            others => format!("{name}-{}", others + 1),
        };
        let home = self.directory().join(format!("{label}-home"));
        fs::create_dir(&home)?;
        let mut command = if name == CLIENT { self.place.at_home(binary) } else { Command::new(binary) };
        command.args(arguments).env_clear().current_dir(&home).stdin(Stdio::null());
        for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"] {
            command.env(variable, &home);
        }
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env("RUST_LOG", "info");
        command.stdout(File::create(self.output(&label, "out"))?);
        command.stderr(File::create(self.output(&label, "err"))?);
        let process = Process::start(self.keeper, &mut command)?;
        self.processes.push(Named { name, label: label.clone(), process });
        Ok(label)
    }

    /// Waits until `find` finds something in a line of a program's standard output.
    pub(super) fn wait_for<T>(&mut self, name: &str, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let path = self.output(name, "out");
        self.wait(|| fs::read_to_string(&path).ok()?.lines().find_map(&find))
            .with_context(|| format!("waiting for what the {name} says"))
    }

    /// Waits until `find` finds something in so many lines of what the program of this label says.
    pub(super) fn wait_for_all<T>(
        &mut self,
        label: &str,
        count: usize,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>> {
        let path = self.output(label, "out");
        self.wait(|| {
            let found: Vec<T> = fs::read_to_string(&path).ok()?.lines().filter_map(&find).collect();
            (found.len() >= count).then_some(found)
        })
        .with_context(|| format!("waiting for {count} lines of {label}"))
    }

    /// Waits until a visitor is served.
    pub(super) fn wait_for_a_visitor(&mut self, service: Service) -> Result<()> {
        let (target, host) = (self.target, self.host.clone());
        self.wait(|| match service {
            Service::Tcp => load::idle_visitors(target, 1).ok().map(drop),
            Service::Udp => load::datagrams(target, 1, 1, LOOK).ok().map(drop),
            Service::Http => load::exchange(target, &host).ok(),
        })
        .context("waiting until a visitor is served")
    }

    /// The end of what the processes said.
    pub(in crate::bench) fn said(&self) -> String {
        let shown = self.processes.iter().take(PROCESSES_SHOWN);
        let outputs = shown.flat_map(|named| ["out", "err"].map(|kind| (named.label.as_str(), kind)));
        let mut said = String::new();
        for (name, kind) in outputs {
            let text = fs::read(self.output(name, kind)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text[text.len().saturating_sub(SHOWN)..]).into_owned();
            said.extend(text.lines().map(|line| format!("  {name}: {line}\n")));
        }
        said
    }

    /// Waits until `look` returns something, for as long as no process has ended.
    pub(super) fn wait<T>(&mut self, mut look: impl FnMut() -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            for named in &mut self.processes {
                named.process.ensure_alive().with_context(|| format!("the {}", named.label))?;
            }
            ensure!(Instant::now() < deadline, "nothing for {:?}", self.patience);
            std::thread::sleep(LOOK);
        }
    }

    fn output(&self, name: &str, kind: &str) -> std::path::PathBuf {
        self.directory().join(format!("{name}.{kind}"))
    }
}

/// For those who measure.
impl Running<'_> {
    /// Where visitors connect.
    pub(in crate::bench) fn visitors_connect_to(&self) -> SocketAddr {
        self.target
    }

    /// What web visitors ask for.
    pub(in crate::bench) fn host(&self) -> &str {
        &self.host
    }

    /// CPU seconds used by both ends together; `None` where there is no tunnel.
    pub(in crate::bench) fn cpu_seconds(&self) -> Result<Option<f64>> {
        if self.processes.is_empty() {
            return Ok(None);
        }
        let seconds: Result<Vec<f64>> =
            self.processes.iter().map(|named| named.process.cpu_seconds()).collect();
        Ok(Some(seconds?.into_iter().sum()))
    }

    /// Resident memory; `None` where there is no tunnel.
    pub(in crate::bench) fn resident(&self) -> Result<Option<Resident>> {
        if self.processes.is_empty() {
            return Ok(None);
        }
        let private: Result<Vec<f64>> =
            self.processes.iter().map(|named| named.process.private_kib()).collect();
        Ok(Some(Resident {
            server: self.resident_of(SERVER)?,
            client: self.resident_of(CLIENT)?,
            private: private?.into_iter().sum(),
        }))
    }

    fn resident_of(&self, name: &str) -> Result<f64> {
        let all = self.processes.iter().filter(|named| named.name == name);
        let each: Result<Vec<f64>> = all.map(|named| named.process.resident_kib()).collect();
        let each = each?;
        ensure!(!each.is_empty(), "there is no {name}");
        Ok(each.into_iter().sum())
    }

    /// How many clients there are.
    pub(in crate::bench) fn clients(&self) -> usize {
        self.processes.iter().filter(|named| named.name == CLIENT).count()
    }
}
