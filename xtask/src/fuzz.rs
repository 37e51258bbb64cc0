//! `cargo xtask fuzz`: throws bytes at every reader that strangers reach, a while each, and says what broke.
//!
//! The targets live in `fuzz/`, outside the workspace; their README says how they are built and what they check.
//! libFuzzer is chatty, so what it says goes into a log beside its finds and only the outcome is shown.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Longest input, in bytes: more than the largest hello a reader may ask for (16 KiB).
const LONGEST_INPUT: u32 = 20_000;
/// One input that takes longer, in seconds, is a find: the slowest takes milliseconds.
const INPUT_TIMEOUT: u32 = 10;
/// Memory of the whole process, in MiB. The targets hold themselves to far stricter bounds for one input.
const MEMORY_LIMIT: u32 = 1024;
/// Lines of the log that are shown when a target failed.
const SHOWN: usize = 30;

/// What to fuzz, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// One target; all of them by default.
    target: Option<String>,
}

/// Builds the targets and runs one after the other; `Ok(false)` when one found something.
///
/// # Errors
///
/// When cargo can't build the targets, or one can't be started.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let folder = root()?.join("fuzz");
    let targets = build(&folder, arguments.target.as_deref())?;
    ensure!(!targets.is_empty(), "cargo built no fuzz target");
    let mut all_held = true;
    for target in &targets {
        println!("== {}: {} s", target.name, arguments.seconds);
        let log = folder.join("artifacts").join(&target.name).with_extension("log");
        let status = run_target(&folder, target, &log, arguments.seconds)?;
        let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        if status.success() {
            println!("   held for {} inputs", executed(&said).unwrap_or("an unknown number of"));
        } else {
            all_held = false;
            let lines: Vec<&str> = said.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(SHOWN)..].join("\n"));
            println!("   BROKEN ({status}); all of it in {}", log.display());
        }
    }
    if !all_held {
        println!(
            "\nMend it, and keep the input as a seed (fuzz/seeds/TARGET/) under a name that says what it is."
        );
    }
    Ok(all_held)
}

/// A binary that cargo built.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    name: String,
    executable: PathBuf,
}

/// A line of cargo's JSON output, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Message {
    target: Option<Named>,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

fn root() -> Result<PathBuf> {
    let output = Command::new("cargo")
        .args(["locate-project", "--workspace", "--message-format", "plain"])
        .output()
        .context("cargo did not start: is it on the PATH?")?;
    let manifest = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    Ok(manifest.parent().context("cargo named no manifest: run this inside the checkout")?.to_owned())
}

fn build(folder: &Path, only: Option<&str>) -> Result<Vec<Target>> {
    let mut cargo = Command::new("cargo");
    cargo.arg("build").arg("--config").arg(folder.join("instrument.toml"));
    cargo.arg("--manifest-path").arg(folder.join("Cargo.toml"));
    cargo.args(["--locked", "--release", "--features", "libfuzzer"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    match only {
        Some(name) => cargo.args(["--bin", name]),
        None => cargo.arg("--bins"),
    };
    // They would stand in for the flags of `instrument.toml`.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let output =
        cargo.stderr(Stdio::inherit()).output().context("cargo did not start: is it on the PATH?")?;
    ensure!(output.status.success(), "the fuzz targets don't build");
    Ok(executables(&String::from_utf8_lossy(&output.stdout)))
}

/// The binaries that cargo's JSON lines speak of.
fn executables(lines: &str) -> Vec<Target> {
    let messages = lines.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let target =
        |message: Message| Some(Target { name: message.target?.name, executable: message.executable? });
    let mut targets: Vec<Target> = messages.filter_map(target).collect();
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    targets
}

/// Runs one target from the seeds and what earlier runs collected in `fuzz/corpus`.
fn run_target(folder: &Path, target: &Target, log: &Path, seconds: u32) -> Result<ExitStatus> {
    let of_target = |kind: &str| folder.join(kind).join(&target.name);
    let (corpus, finds) = (of_target("corpus"), of_target("artifacts"));
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&finds)?;
    let log = File::create(log)?;
    Command::new(&target.executable)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={LONGEST_INPUT}"))
        .arg(format!("-timeout={INPUT_TIMEOUT}"))
        .arg(format!("-rss_limit_mb={MEMORY_LIMIT}"))
        .arg(format!("-artifact_prefix={}/", finds.display()))
        .arg("-print_final_stats=1")
        .args([corpus, of_target("seeds")])
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .with_context(|| format!("{} did not start", target.name))
}

/// How many inputs libFuzzer tried, from its closing statistics.
fn executed(log: &str) -> Option<&str> {
    log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_what_cargo_built_an_executable_of() {
        let lines = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"tunnel_fuzz","kind":["lib"]},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"http_head"},"executable":"out/http_head"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\nnot JSON\n",
        );
        assert_eq!(
            executables(lines),
            [Target { name: "http_head".into(), executable: "out/http_head".into() }]
        );
    }

    #[test]
    fn the_number_of_inputs_is_found_in_the_log() {
        let log = "Done 99 runs\nstat::number_of_executed_units: 1234\nstat::average_exec_per_sec:     9\n";
        assert_eq!(executed(log), Some("1234"));
        assert_eq!(executed("crash"), None);
    }
}
