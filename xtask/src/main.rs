//! The workshop: every chore of this repository that takes more than one cargo invocation.
//!
//! A chore lives in its own module and is named twice here, as a line of [`Chore`] and as a line of `main`'s `match`;
//! nothing else knows the list. It runs as `cargo xtask CHORE` and exits non-zero when it found fault or couldn't run.
//! The crate depends on none of ours, so that `tidy` answers in seconds even while another crate doesn't compile.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what a workshop command is for")]

mod fuzz;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

/// Chores of the tunnel repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Chore {
    /// Check what no compiler checks: arrows between crates, file sizes, docs, leftovers, links.
    Tidy,
    /// Run every test a clean machine can run, in order, and stop at the first failure.
    Test,
    /// Throw bytes at every reader that strangers reach, a while each.
    Fuzz(fuzz::Arguments),
}

/// Each chore prints what it found and returns whether all is well; an error means that it couldn't find out.
fn main() -> ExitCode {
    let outcome = match Chore::parse() {
        Chore::Tidy => tidy::run(),
        Chore::Test => test::run(),
        Chore::Fuzz(arguments) => fuzz::run(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
