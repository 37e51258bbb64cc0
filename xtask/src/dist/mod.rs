//! `cargo xtask dist`: the program for machines that are busy, optimised by what it does on a busy day.
//!
//! A compiler guesses which code is run often and lays everything out accordingly. Here it needn't guess: a first build
//! counts, end-to-end scenarios give it a busy day, and a second build is made by these counts (profile-guided
//! optimisation). A request then costs a fifth less; `docs/BENCHMARKS.md` has the figures. The counts belong to one
//! compiler and one state of the source, so they aren't kept in the repository, and `cargo install` can't use them.

mod profdata;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use self::profdata::Profdata;
use crate::{
    cargo::{ask_rustc, target_directory},
    e2e,
};

/// Part of the names of the scenarios that it learns from.
const BUSY_DAY: &str = "a busy day";

/// What to build.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Features of the program, as for `cargo build`: `otel`.
    #[arg(long, value_name = "FEATURES")]
    features: Option<String>,
}

/// Builds it, twice, and says where it is; `Ok(false)` when it failed on the busy day.
///
/// # Errors
/// When it can't be built, or there is nothing on this machine that can read the counts.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let folder = target_directory()?.join("dist");
    let host = host()?;
    let profdata = Profdata::find(&folder.join("probe"), &host)?;

    println!("== 1/3 a build that counts");
    let counts = anew(&folder.join("counts"))?;
    let build = |flag: &str| build(&folder, &host, arguments.features.as_deref(), flag);
    let counting = build(&format!("-Cprofile-generate={}", counts.display()))?;

    println!("== 2/3 a busy day");
    if !e2e::run_long(&counting, BUSY_DAY)? {
        return Ok(false);
    }
    let merged = folder.join("tunnel.profdata");
    profdata.merge(&counts, &merged)?;

    println!("== 3/3 the build that was learned");
    // In the same directory as the first: the names of functions, which the counts go by, must be the same.
    let learned = build(&format!("-Cprofile-use={}", merged.display()))?;
    let program = folder.join("tunnel");
    fs::copy(&learned, &program).with_context(|| format!("copying it to {}", program.display()))?;
    println!("\n{}", program.display());
    Ok(true)
}

/// The target triple of this machine. Named to cargo so that build scripts and macros are built without our flags.
fn host() -> Result<String> {
    let said = ask_rustc(&["--version", "--verbose"])?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc doesn't say for which host it is")
}

/// An empty directory.
fn anew(path: &Path) -> Result<PathBuf> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("removing {}", path.display()))?;
    }
    fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
    Ok(path.to_owned())
}

/// Builds the program for release, with one more flag for rustc.
fn build(folder: &Path, host: &str, features: Option<&str>, flag: &str) -> Result<PathBuf> {
    let directory = folder.join("build");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "--package", "tunnel", "--target", host, "--target-dir"]);
    cargo.arg(&directory).args(features.map(|features| format!("--features={features}")));
    // It would stand in for ours.
    cargo.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flag);
    let status = cargo.status().context("cargo did not start: is it on the PATH?")?;
    ensure!(status.success(), "the program doesn't build with {flag}");
    Ok(directory.join(host).join("release").join(format!("tunnel{}", std::env::consts::EXE_SUFFIX)))
}
