//! What the process may use: as many open files as the system lets it have.
//!
//! Each visitor is a file. Most systems start programs with a limit of 1,024 and let them raise it a lot; the low
//! one is for programs that still use `select`.

/// Raises the limit of open files to the highest one allowed. Where that fails, the server accepts fewer visitors.
#[cfg(unix)]
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Without it, fewer visitors fit.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

/// There is no such limit here.
#[cfg(not(unix))]
pub(crate) fn raise_open_files() {}
