//! The shell: flags, environment and files to engine configs; events to lines a person or a script reads.
//!
//! ```text
//!   argv, environment ─► args ─► resolve ─► run ─► engines (tunnel-server, tunnel-client)
//!                        saved logins ─┘     │ ▲
//!                          state (files) ◄───┘ └── events ─► output ─► terminal
//! ```
//!
//! It decides nothing about tunnels: what a name is worth, who is let in and what is retried is the engines'
//! business. Precedence is decided in one place, [`args`] and `resolve`: flags, then environment, then the saved
//! login, then the default. The environment's variables are all listed in [`mod@env`].
//!
//! The exit status says how a command ended: 0 in good order, 1 for a failure or a refusal that trying again can't
//! cure, 2 for bad usage, 3 for a token that isn't taken, 128 plus the signal's number when a second signal cut the
//! draining short.

pub mod args;
mod config;
pub mod env;

mod machine;
mod resolve;

mod access_log;
#[cfg(feature = "otel")]
mod traces;
#[cfg(not(feature = "otel"))]
#[path = "no_traces.rs"]
mod traces;

mod doctor;
mod init;
mod run;
mod service;

mod output;
mod program;
mod site;
mod state;

pub use args::{CommandLine, Invocation, Logging, Usage};
pub use output::{StandardError, StandardErrorGuard, remark};
pub use program::Program;
pub use run::{Failure, run};
