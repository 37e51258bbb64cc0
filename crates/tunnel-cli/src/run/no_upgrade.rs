//! Upgrades need a Unix system: sockets are passed from process to process there.

use std::{convert::Infallible, future::Future, io, net::TcpListener, path::Path, sync::Arc};

use tokio::sync::watch;
use tunnel_server::{Estate, ServerHandle};

use super::{Failure, lease_keeping::LeaseKeeping, notify::Notifier, sockets::Role};
use crate::{args::UpgradeArgs, output::Console, program::Program, state::ownership::Ownership};

/// Nobody has a predecessor here.
#[derive(Debug)]
pub(super) struct Predecessor(Infallible);

impl Predecessor {
    pub(super) async fn meet(_: &Program) -> Result<Option<Self>, Failure> {
        Ok(None)
    }

    pub(super) fn sockets(&mut self) -> Vec<(Role, TcpListener)> {
        match self.0 {}
    }

    pub(super) fn ownership(&mut self) -> Option<Ownership> {
        match self.0 {}
    }

    pub(super) async fn inherit(&mut self) -> Result<Estate, Failure> {
        match self.0 {}
    }

    pub(super) async fn fail(&self, _: &str) {
        match self.0 {}
    }
}

/// What would be handed over.
#[derive(Debug)]
#[expect(dead_code, reason = "nobody takes it here")]
pub(super) struct Parts {
    pub(super) program: Program,
    pub(super) handle: ServerHandle,
    pub(super) sockets: Vec<(Role, TcpListener)>,
    pub(super) ownership: Option<Ownership>,
    pub(super) leases: LeaseKeeping,
    pub(super) taken_back: watch::Sender<()>,
    pub(super) notifier: Arc<Notifier>,
    pub(super) console: Console,
}

/// Never ready.
pub(super) fn listen(
    _: &Path,
    _: Option<Predecessor>,
    parts: Parts,
) -> Result<impl Future<Output = Result<(), Failure>> + use<>, Failure> {
    Ok(async move {
        let _parts = parts;
        std::future::pending().await
    })
}

pub(super) async fn command(_: UpgradeArgs, _: Console) -> Result<(), Failure> {
    Err(Failure::NotUpgraded(io::Error::from(io::ErrorKind::Unsupported).to_string()))
}
