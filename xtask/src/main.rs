//! The workshop: every chore of this repository that takes more than one cargo invocation.
//!
//! A chore lives in its own module and is named twice here, as a line of [`Chore`] and as a line of `main`'s `match`;
//! nothing else knows the list. It runs as `cargo xtask CHORE` and exits non-zero when it found fault or couldn't run.
//! The crate depends on none of ours, so that `tidy` answers in seconds even while another crate doesn't compile.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what a workshop command is for")]

#[cfg(target_os = "linux")]
mod bench;
mod cargo;
mod dist;
mod e2e;
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
    /// Try the real binary as processes: crashes, restarts, dead links, crowds.
    E2e(e2e::Arguments),
    /// Build the program for machines that are busy: optimised by what it does on a busy day. Takes two builds for
    /// release, and needs `rustup component add llvm-tools`.
    Dist(dist::Arguments),
    /// Throw bytes at every reader that strangers reach, a while each.
    Fuzz(fuzz::Arguments),
    /// Measure what a tunnel costs, beside none and beside its peers (on Linux: it reads /proc).
    #[cfg(target_os = "linux")]
    Bench(bench::Arguments),
    /// The service behind the tunnels of `bench`, which starts it.
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    BenchUpstream(bench::upstream::Arguments),
    /// Ends the processes of a `bench` that was killed; `bench` starts it.
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    BenchKeeper,
    /// The link between the two hosts of `bench --wan`, which starts it.
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    BenchLink(bench::wan::LinkArguments),
}

/// Each chore prints what it found and returns whether all is well; an error means that it couldn't find out.
fn main() -> ExitCode {
    let outcome = match Chore::parse() {
        Chore::Tidy => tidy::run(),
        Chore::Test => test::run(),
        Chore::E2e(arguments) => e2e::run(&arguments),
        Chore::Dist(arguments) => dist::run(&arguments),
        Chore::Fuzz(arguments) => fuzz::run(&arguments),
        #[cfg(target_os = "linux")]
        Chore::Bench(arguments) => bench::run(&arguments),
        #[cfg(target_os = "linux")]
        Chore::BenchUpstream(arguments) => bench::upstream::run(&arguments),
        #[cfg(target_os = "linux")]
        Chore::BenchKeeper => bench::keeper::run(),
        #[cfg(target_os = "linux")]
        Chore::BenchLink(arguments) => bench::wan::carry(&arguments),
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
