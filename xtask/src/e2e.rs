//! `cargo xtask e2e`: the real binary as processes, through crashes, restarts and links that go dead.
//!
//! The scenarios are a program of the test kit (`crates/tunnel-testkit/src/bin/e2e`): they are made of its visitors,
//! upstreams and failing relay, and xtask names none of our crates. This builds both and runs one with the other.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// What to run, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Soak: more rounds, gigabytes, minutes. Takes half an hour.
    #[arg(long)]
    long: bool,
    /// Try the optimised binary.
    #[arg(long)]
    release: bool,
    /// Parts of the names of scenarios; all of them by default.
    names: Vec<String>,
}

/// Builds and runs; `Ok(false)` when a scenario failed.
///
/// # Errors
///
/// When cargo can't build the binary or the scenarios, or they can't be started.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    if !cfg!(unix) {
        println!("skipped: the end-to-end tests need signals");
        return Ok(true);
    }
    let built = build(&["--bin", "tunnel", "--bin", "e2e"], arguments.release)?;
    let scenarios = executable(&built, "e2e")?;
    try_with(&scenarios, &executable(&built, "tunnel")?, arguments.long, &arguments.names)
}

/// Runs the long variant of scenarios with a `tunnel` that is there already; `Ok(false)` when one failed.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn run_long(binary: &Path, name: &str) -> Result<bool> {
    let built = build(&["--bin", "e2e"], false)?;
    try_with(&executable(&built, "e2e")?, binary, true, &[name.to_owned()])
}

fn try_with(scenarios: &Path, binary: &Path, long: bool, names: &[String]) -> Result<bool> {
    let mut scenarios = Command::new(scenarios);
    scenarios.env("TUNNEL_BIN", binary).args(long.then_some("--long")).args(names);
    Ok(scenarios.status().context("the scenarios did not start")?.success())
}

/// A line of cargo's JSON output about something built.
#[derive(Debug, Deserialize)]
struct Artifact {
    target: Named,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

fn executable(built: &[Artifact], name: &str) -> Result<PathBuf> {
    let artifact = built.iter().find(|artifact| artifact.target.name == name);
    artifact
        .and_then(|artifact| artifact.executable.clone())
        .with_context(|| format!("cargo built no `{name}`"))
}

fn build(binaries: &[&str], release: bool) -> Result<Vec<Artifact>> {
    let output = Command::new("cargo")
        .args(["build", "--quiet", "-p", "tunnel", "-p", "tunnel-testkit"])
        .args(binaries)
        .args(["--message-format", "json-render-diagnostics"])
        .args(release.then_some("--release"))
        .stderr(Stdio::inherit())
        .output()
        .context("cargo did not start: is it on the PATH?")?;
    ensure!(output.status.success(), "the binary or the scenarios don't build");
    let lines = String::from_utf8_lossy(&output.stdout);
    Ok(lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
