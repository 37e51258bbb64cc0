//! The guard of a public port: the port is open exactly as long as its lease's guard lives.

use tokio_util::task::AbortOnDropHandle;

/// An open public port, of whatever kind. Dropping it closes the port.
#[derive(Debug)]
pub(crate) struct PortGuard {
    _serving: AbortOnDropHandle<()>,
}

impl PortGuard {
    /// Guards the task that owns the port's socket.
    pub(super) fn new(serving: tokio::task::JoinHandle<()>) -> Self {
        Self { _serving: AbortOnDropHandle::new(serving) }
    }
}
