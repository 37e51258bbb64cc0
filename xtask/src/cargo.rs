//! What cargo and rustc know about this checkout and this machine.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
}

/// Where cargo puts what it builds of this checkout.
///
/// # Errors
/// When cargo doesn't say.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo did not start: is it on the PATH?")?;
    ensure!(output.status.success(), "cargo metadata failed");
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata's JSON")?;
    Ok(metadata.target_directory)
}

/// What rustc says when asked with `arguments`.
///
/// # Errors
/// When it can't be asked.
pub(crate) fn ask_rustc(arguments: &[&str]) -> Result<String> {
    let output = Command::new("rustc")
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .context("rustc did not start: is it on the PATH?")?;
    ensure!(output.status.success(), "rustc {} failed", arguments.join(" "));
    Ok(String::from_utf8(output.stdout)?)
}
