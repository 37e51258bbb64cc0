//! `llvm-profdata`, which makes of what running programs counted what the compiler reads.
//!
//! The counts' form changes with LLVM. What comes with the compiler always fits (`rustup component add llvm-tools`);
//! one that a distribution has may fit, so it is tried with a program that takes no time to build.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::anew;
use crate::cargo::ask_rustc;

/// The versions that distributions may have under a name of their own, newest first.
const VERSIONS: std::ops::RangeInclusive<u32> = 18..=30;

/// One that fits this compiler.
#[derive(Debug)]
pub(super) struct Profdata(OsString);

impl Profdata {
    /// Looks for it: beside the compiler, then on the `PATH`. What is tried is below `folder`.
    ///
    /// # Errors
    /// When there is none, or none that fits.
    pub(super) fn find(folder: &Path, host: &str) -> Result<Self> {
        let counts = probe(&anew(folder)?)?;
        let sysroot = PathBuf::from(ask_rustc(&["--print", "sysroot"])?.trim());
        let beside = sysroot.join("lib/rustlib").join(host).join("bin/llvm-profdata");
        let fits = |tool: &Self| tool.merge(&counts, &folder.join("merged")).is_ok();
        let found = candidates(beside).map(Self).find(fits);
        found.context("no llvm-profdata fits this compiler: run `rustup component add llvm-tools`")
    }

    /// Makes one file of all counts in a directory.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub(super) fn merge(&self, counts: &Path, merged: &Path) -> Result<()> {
        let mut merge = Command::new(&self.0);
        merge.arg("merge").arg("--output").arg(merged).arg(counts).stdin(Stdio::null());
        let output = merge.output().with_context(|| format!("{} did not start", self.0.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} merge: {}", self.0.display(), said.trim());
        Ok(())
    }
}

fn candidates(beside: PathBuf) -> impl Iterator<Item = OsString> {
    let numbered = VERSIONS.rev().map(|version| format!("llvm-profdata-{version}").into());
    [beside.into_os_string(), "llvm-profdata".into()].into_iter().chain(numbered)
}

/// Where a program of this compiler has counted.
fn probe(folder: &Path) -> Result<PathBuf> {
    let (source, program, counts) = (folder.join("probe.rs"), folder.join("probe"), folder.join("counts"));
    fs::write(&source, "fn main() {}\n")?;
    let mut rustc = Command::new("rustc");
    rustc.arg(format!("-Cprofile-generate={}", counts.display())).arg("-o").arg(&program).arg(&source);
    for mut command in [rustc, Command::new(&program)] {
        let status = command.status().with_context(|| format!("{command:?} did not start"))?;
        ensure!(status.success(), "{command:?} failed");
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_with_the_compiler_is_asked_first_and_then_the_newest() {
        let asked: Vec<OsString> = candidates("beside".into()).take(4).collect();
        assert_eq!(asked, ["beside", "llvm-profdata", "llvm-profdata-30", "llvm-profdata-29"]);
    }

    #[test]
    fn counts_that_cant_be_read_are_an_error_and_so_is_a_tool_that_is_missing() {
        let nowhere = Path::new("no/such/directory");
        let missing = Profdata("no-such-program".into()).merge(nowhere, nowhere).unwrap_err();
        assert_eq!(missing.to_string(), "no-such-program did not start");
        let failing = Profdata("false".into()).merge(nowhere, nowhere).unwrap_err();
        assert_eq!(failing.to_string(), "false merge: ");
    }
}
