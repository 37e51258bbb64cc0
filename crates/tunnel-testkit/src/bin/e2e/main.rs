//! The real binary as processes, through what happens to processes: crashes, restarts, links that go dead.
//!
//! `cargo xtask e2e` builds the binary and this, and runs this with the binary's path in `TUNNEL_BIN`. It lives beside
//! the test kit because it is made of it (visitors, upstreams, the relay that fails), and in a binary of its own
//! rather than in xtask, which must build in seconds and while everything else is broken.
//!
//! ```text
//!   harness/    processes, their output, /proc; a server's place and a laptop's; load
//!   scenarios/  what must hold, one function each; its name is a sentence
//! ```
//!
//! Each scenario has a directory of its own for everything that programs keep, and ports that the system chooses.
//! Nothing of the machine is touched. Whatever was started is killed at the end, also after a panic.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it reports to whoever runs it")]

#[cfg(unix)]
mod harness;
#[cfg(unix)]
mod scenarios;

use std::process::ExitCode;

#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "main hands the process's arguments and environment down")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode] = arguments.as_slice()
        && mode == harness::SILENT_UPSTREAM
    {
        return harness::silent_upstream();
    }
    let Some(binary) = std::env::var_os("TUNNEL_BIN") else {
        eprintln!("error: TUNNEL_BIN must name the binary to try; run this as `cargo xtask e2e`");
        return ExitCode::from(2);
    };
    match harness::Choice::parse(&arguments) {
        Ok(choice) => harness::run(binary.as_ref(), scenarios::all(), &choice),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

/// Signals and `/proc` are what this is about.
#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("error: the end-to-end tests need signals; run them on Linux");
    ExitCode::from(2)
}
