//! `cargo xtask e2e`: the real binary as processes, through crashes, restarts and links that go dead.
//!
//! The scenarios are a program of the test kit (`crates/tunnel-testkit/src/bin/e2e`): they are made of its visitors,
//! upstreams and failing relay, and xtask names none of our crates. This builds both and runs one with the other.

use std::{
    path::PathBuf,
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
    let built = build(arguments.release)?;
    let path = |name: &str| {
        let artifact = built.iter().find(|artifact| artifact.target.name == name);
        artifact
            .and_then(|artifact| artifact.executable.clone())
            .with_context(|| format!("cargo built no `{name}`"))
    };
    let mut scenarios = Command::new(path("e2e")?);
    scenarios
        .env("TUNNEL_BIN", path("tunnel")?)
        .args(arguments.long.then_some("--long"))
        .args(&arguments.names);
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

fn build(release: bool) -> Result<Vec<Artifact>> {
    let output = Command::new("cargo")
        .args(["build", "--quiet", "-p", "tunnel", "-p", "tunnel-testkit", "--bin", "tunnel", "--bin", "e2e"])
        .args(["--message-format", "json-render-diagnostics"])
        .args(release.then_some("--release"))
        .stderr(Stdio::inherit())
        .output()
        .context("cargo did not start: is it on the PATH?")?;
    ensure!(output.status.success(), "the binary or the scenarios don't build");
    let lines = String::from_utf8_lossy(&output.stdout);
    Ok(lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
