//! `cargo xtask test`: the one command a newcomer runs, so that README, CI and a laptop mean the same by "the tests".
//!
//! The steps run in order and the first failure ends the run. Output passes through untouched; we only read along to
//! end with one line, `N passed, N failed`, because cargo prints a summary per binary and no total.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// What a step is called, and what cargo is given for it.
const STEPS: &[(&str, &[&str])] = &[
    ("unit and integration tests", &["test", "--workspace", "--all-targets"]),
    ("documentation examples", &["test", "--workspace", "--doc"]),
    ("the binary as processes", &["xtask", "e2e"]),
    ("the binary with traces", WITH_TRACES),
];

/// What is different in a program that was built with the feature `otel`. Last, since it builds the binary anew.
const WITH_TRACES: &[&str] = &[
    "test",
    "--workspace",
    "--features=tunnel/otel",
    "--lib",
    "--test=cli",
    "--test=reference",
    "--",
    "trace",
    "describe",
    "listed",
    "both_sides",
];

/// Runs every step; `Ok(false)` when one failed.
///
/// # Errors
///
/// When cargo can't be run, and when every step passes without having run a single test.
pub(crate) fn run() -> Result<bool> {
    let mut total = Tally::default();
    let mut passed = true;
    for (number, (name, arguments)) in STEPS.iter().enumerate() {
        println!("\n== {}/{} {name}: cargo {}", number + 1, STEPS.len(), arguments.join(" "));
        passed = run_step(arguments, &mut total)?;
        if !passed {
            println!("\n== failed: {name}");
            break;
        }
    }
    println!("\n{total}");
    ensure!(!passed || total.passed > 0, "no test ran");
    Ok(passed)
}

/// Tests counted from the summaries of the test binaries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// Adds a libtest summary (`test result: ok. 3 passed; 0 failed; ...`) and that of `e2e`, which looks like ours;
    /// any other line changes nothing.
    fn read_along(&mut self, line: &str) {
        let summary = match line.split_once("test result: ") {
            Some((_, summary)) => summary,
            None if is_summary(line) => line,
            None => return,
        };
        self.passed += number_before(summary, " passed");
        self.failed += number_before(summary, " failed");
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Whether a line is `N passed, N failed` and nothing else.
fn is_summary(line: &str) -> bool {
    let tally = Tally { passed: number_before(line, " passed"), failed: number_before(line, " failed") };
    line == tally.to_string()
}

fn number_before(text: &str, unit: &str) -> u64 {
    let Some((before, _)) = text.split_once(unit) else { return 0 };
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Runs cargo, passing its output on line by line; `Ok(false)` when it ran and reported failure.
fn run_step(arguments: &[&str], total: &mut Tally) -> Result<bool> {
    let mut cargo = Command::new("cargo")
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo did not start: is it on the PATH?")?;
    let output = cargo.stdout.take().context("invariant: stdout was piped")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("reading cargo's output")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        total.read_along(&line);
    }
    Ok(cargo.wait().context("waiting for cargo")?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tally_adds_summaries_and_nothing_else() {
        let mut total = Tally::default();
        total.read_along("running 3 tests");
        total.read_along("test says_7_passed ... ok");
        total.read_along(
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        );
        total.read_along("test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(total, Tally { passed: 15, failed: 1 });
        assert_eq!(total.to_string(), "15 passed, 1 failed");
        total.read_along("ok     a scenario (1.2 s): 5 passed, 5 failed");
        total.read_along("28 passed, 2 failed");
        assert_eq!(total, Tally { passed: 43, failed: 3 });
    }
}
