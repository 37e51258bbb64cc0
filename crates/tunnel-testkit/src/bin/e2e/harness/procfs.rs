//! What the system knows of a process: `/proc`, and the limit of open files.

use std::{fs, path::PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Fault, Outcome, Told};

/// How many files and sockets a process has open.
pub(crate) fn open_files(pid: u32) -> Outcome<usize> {
    Ok(fs::read_dir(of(pid, "fd")).told("counting open files")?.count())
}

/// A process's resident memory, in bytes.
pub(crate) fn memory(pid: u32) -> Outcome<u64> {
    let status = fs::read_to_string(of(pid, "status")).told("reading a process's memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or(Fault::new("/proc tells no resident memory"))
}

/// A process's command line.
pub(crate) fn command_line(pid: u32) -> Outcome<String> {
    Ok(String::from_utf8_lossy(&fs::read(of(pid, "cmdline"))?).replace('\0', " "))
}

/// How many files this process may open.
pub(crate) fn open_files_limit() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Raises that as far as it goes: each visitor is a file.
pub(crate) fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Without it, crowds are smaller.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn of(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}
