//! A server's settings, read again while it runs: all of a file, or nothing of it.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::{info, warn};
use tunnel_server::{ReconfigureError, ServerHandle};

use super::{notify::Notifier, reloads::Reloads};
use crate::{
    args::{Command, CommandLine},
    output::chain,
    resolve::server::ServerPlan,
    state::{certificates::Certificates, files::FileError},
};

/// When to read settings again, and how.
#[derive(Debug)]
pub(super) struct Reloading {
    pub(super) reloads: Reloads,
    pub(super) line: CommandLine,
}

/// What a running server goes by.
pub(super) struct Running {
    pub(super) plan: ServerPlan,
    pub(super) handle: ServerHandle,
    /// Takes certificates to be shown from now on.
    pub(super) certificates: mpsc::Sender<Certificates>,
    pub(super) notifier: Arc<Notifier>,
}

/// Why settings that were read again don't count.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Config(#[from] ReconfigureError),
    #[error("the command line is another one's")]
    NotAServer,
}

impl Reloading {
    /// Keeps a server's settings up to date. Never returns.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn keep(mut self, mut running: Running) {
        loop {
            self.reloads.next().await;
            let file = self.reloads.file().map(|path| path.display().to_string()).unwrap_or_default();
            running.notifier.reloading();
            let reloaded = self.reload(&mut running).await;
            running.notifier.ready();
            match reloaded {
                Ok((changes, needs_restart)) => {
                    info!(%file, changes = changes.join(" "), "settings read again");
                    let waiting = (!needs_restart.is_empty()).then(|| needs_restart.join(", "));
                    let fault = waiting
                        .as_ref()
                        .map(|flags| format!("{flags} changed in {file}: restart to have it"));
                    running.handle.set_settings_fault(fault);
                    if let Some(needs_restart) = waiting {
                        warn!(%file, %needs_restart, "some settings have changed that count after a restart only");
                    }
                }
                Err(error) => {
                    let error = chain(&error);
                    running.handle.set_settings_fault(Some(format!("{file} isn't in use: {error}")));
                    warn!(%file, error, "the settings can't be used; those read before stay in use");
                }
            }
        }
    }

    async fn reload(
        &self,
        running: &mut Running,
    ) -> Result<(Vec<&'static str>, Vec<&'static str>), ReloadError> {
        let invocation = self.line.parse().map_err(|usage| ReloadError::Usage(usage.line()))?;
        let Command::Server(args) = invocation.command else { return Err(ReloadError::NotAServer) };
        let plan = args.resolve()?;
        let certificates = Certificates::load(&plan.certificates)?;
        let fixed = running.plan.fixed_changes(&plan);
        let now = running.handle.config();
        // They count after a restart, and the rest does now.
        let (domain, bind) = (now.domain.clone(), now.bind);
        let mut config = plan.engine_config();
        (config.domain, config.bind) = (domain, bind);
        let mut changes = running.handle.reconfigure(config)?;
        if plan.certificates != running.plan.certificates {
            changes.push("certificates");
        }
        running.plan.certificates = plan.certificates;
        // The receiver ends with the server.
        let _ = running.certificates.send(certificates).await;
        Ok((changes, fixed))
    }
}
