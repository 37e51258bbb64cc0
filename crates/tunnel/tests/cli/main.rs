//! The binary as people and scripts meet it: processes, flags, environment, files, output and exit statuses.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "in tests the failure is the message")]

mod support;

mod config;
mod precedence;
#[cfg(feature = "otel")]
mod traces;
mod tunnels;
mod usage;
