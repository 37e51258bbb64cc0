//! `tunnel doctor`: what keeps a tunnel from working, told apart, each with its cure.
//!
//! ```text
//!   server   config, files, ports, names, the way in, the machine
//!   client   dns ─► tcp ─► tls ─► pin ─► login ─► version, clock, heartbeat, udp        upstream
//! ```
//! A check that stands on a failed one is skipped and says so; the others run at the same time. All of it together
//! takes at most [`BUDGET`]. The steps are those of a real connection, done by the same code.

pub(crate) mod check;

mod client;
mod ladder;
mod login;
mod udp;
mod upstream;

pub(crate) mod server;

use std::time::Duration;

pub(crate) use self::{
    check::Report,
    client::{Patient, examine as examine_client},
};

/// All checks together: people wait this long for an answer, and no longer.
pub(crate) const BUDGET: Duration = Duration::from_millis(9_500);
