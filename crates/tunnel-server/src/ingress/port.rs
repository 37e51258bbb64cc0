//! The guard of a public port: the port is open exactly as long as its lease's guard lives.

use std::{fmt, io};

use tokio_util::task::AbortOnDropHandle;

use crate::succession::PortSocket;

/// An open public port, of whatever kind. Dropping it closes the port.
pub(crate) struct PortGuard {
    share: Box<dyn Fn() -> io::Result<Option<PortSocket>> + Send + Sync>,
    _serving: AbortOnDropHandle<()>,
}

impl PortGuard {
    /// Guards the task that serves the port's socket, of which `share` gives another handle
    /// without keeping it open.
    pub(super) fn new(
        serving: tokio::task::JoinHandle<()>,
        share: impl Fn() -> io::Result<Option<PortSocket>> + Send + Sync + 'static,
    ) -> Self {
        Self { share: Box::new(share), _serving: AbortOnDropHandle::new(serving) }
    }

    /// Another handle to the port's socket, for a successor; `None` if the port has been closed.
    ///
    /// # Errors
    /// The system has no file descriptor left.
    pub(crate) fn share(&self) -> io::Result<Option<PortSocket>> {
        (self.share)()
    }
}

impl fmt::Debug for PortGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortGuard").finish_non_exhaustive()
    }
}
