//! What the figures were taken on, and how busy it was: without that, no figure means anything.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

/// The machine, before the first measurement.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    processor: String,
    cores: usize,
    memory_gib: u64,
    kernel: String,
    /// Runnable tasks over the last minute, without ours.
    load_before: f64,
}

impl Machine {
    /// Looks at the machine.
    ///
    /// # Errors
    /// Where there is no `/proc`.
    pub(super) fn now() -> Result<Self> {
        let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|_| "unknown processor".into());
        let kib: u64 = field("/proc/meminfo", "MemTotal")?.trim_end_matches(" kB").parse()?;
        Ok(Self {
            processor,
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: kib.div_ceil(1 << 20),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load_before: load()?,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, memory_gib, kernel, load_before } = self;
        write!(
            f,
            "{cores} cores of {processor}, {memory_gib} GiB, Linux {kernel}; load before the run {load_before}"
        )
    }
}

/// The first value of `name` in a file of `name: value` lines.
fn field(path: &str, name: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned());
    values.next().with_context(|| format!("no {name} in {path}"))
}

fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
    Ok(text.split(' ').next().context("an empty /proc/loadavg")?.parse()?)
}
