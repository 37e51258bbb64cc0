//! The binary: reads the command line, sets the process up, and leaves the rest to `tunnel-cli`.

mod limits;
mod logging;
mod memory;

use std::{process::ExitCode, time::Duration};

use tunnel_cli::{CommandLine, Failure, Program};

/// How long tasks may take to notice that the process ends.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// A slow file system or terminal must not stop visitors, even on a machine with one core.
const WORKERS_AT_LEAST: usize = 2;

#[expect(clippy::disallowed_methods, reason = "main hands the process's arguments and environment down")]
fn main() -> ExitCode {
    let line =
        CommandLine { arguments: std::env::args_os().collect(), environment: |name| std::env::var_os(name) };
    let here = std::env::current_dir().ok();
    let program = Program::read(&line.arguments, &line.environment, here, std::env::current_exe().ok());
    let invocation = match line.parse() {
        Ok(invocation) => invocation,
        Err(usage) => {
            return usage.print().map_or_else(|failure| report(&failure), |()| usage.status().into());
        }
    };
    let log = match logging::start(&invocation.logging()) {
        Ok(log) => log,
        Err(message) => return fail(&message, 2),
    };
    limits::raise_open_files();
    memory::keep_pages();
    let workers =
        std::thread::available_parallelism().map_or(WORKERS_AT_LEAST, usize::from).max(WORKERS_AT_LEAST);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        // On busy cores whoever waits for one runs first, and what it sends meanwhile is dealt with in one go.
        .on_thread_park(std::thread::yield_now)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("the runtime can't start: {error}"), 1),
    };
    let end = runtime.block_on(tunnel_cli::run(invocation, line, program));
    runtime.shutdown_timeout(LAST_WORDS);
    let status = match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    };
    drop(log);
    status
}

fn report(failure: &Failure) -> ExitCode {
    fail(&failure.line(), failure.status())
}

fn fail(line: &str, status: u8) -> ExitCode {
    tunnel_cli::remark(&format!("error: {line}"));
    status.into()
}
