//! The programs that are measured: ours built for release from this checkout, the peers installed from their registry.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::systems::System;
use crate::cargo::target_directory;

/// The `tunnel` binary of this checkout, built for release.
pub(super) fn tunnel() -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "--package", "tunnel"]);
    run(&mut cargo)?;
    Ok(target_directory()?.join("release/tunnel"))
}

/// Every peer that can be had; one that doesn't build is left out, and said to be.
pub(super) fn peers() -> Result<Vec<System>> {
    let root = target_directory()?.join("peers");
    let mut systems = Vec::new();
    match install(&root, "rathole", "rathole") {
        Ok(binary) => systems.extend(System::ratholes(&binary)),
        Err(error) => eprintln!("without rathole: {error:#}"),
    }
    match install(&root, "bore-cli", "bore") {
        Ok(binary) => systems.push(System::bore(&binary)),
        Err(error) => eprintln!("without bore: {error:#}"),
    }
    Ok(systems)
}

/// The binary of a registry package, installed below `root` unless it is there already.
fn install(root: &Path, package: &str, binary: &str) -> Result<PathBuf> {
    let path = root.join("bin").join(binary);
    if !path.exists() {
        let mut cargo = Command::new("cargo");
        // Not `--locked`: rathole 0.5.0 is locked to a `time` that today's Rust refuses.
        cargo.args(["install", package, "--root"]).arg(root);
        run(&mut cargo)?;
    }
    Ok(path)
}

fn run(cargo: &mut Command) -> Result<()> {
    // A JSON report has standard output to itself.
    let status = cargo.stdout(Stdio::null()).status().context("cargo did not start: is it on the PATH?")?;
    ensure!(status.success(), "{cargo:?} failed");
    Ok(())
}
