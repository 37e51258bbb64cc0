//! The log: on standard error, as text or JSON.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::{filter::Targets, fmt, prelude::*, util::TryInitError};
use tunnel_cli::{Logging, StandardError, StandardErrorGuard};

/// Starts logging, which goes on until the process ends; what waits then is written when the guard is dropped.
///
/// # Errors
/// A filter that can't be read, in words.
pub(crate) fn start(logging: &Logging<'_>) -> Result<StandardErrorGuard, String> {
    let filter: Targets = logging.filter.parse().map_err(|error| {
        format!("--log {}: {error}; write for example `debug` or `tunnel_server=debug`", logging.filter)
    })?;
    let (out, guard) =
        StandardError::start(logging.json).map_err(|error| format!("the log can't start: {error}"))?;
    let lines = fmt::layer().with_writer(move || out.clone());
    let registry = tracing_subscriber::registry().with(filter);
    let started: Result<(), TryInitError> = if logging.json {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else {
        registry.with(lines.with_ansi(stderr().is_terminal()).with_target(false)).try_init()
    };
    started.map(|()| guard).map_err(|error| error.to_string())
}
