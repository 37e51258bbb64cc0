//! What shows and steers a running server: its admin socket, and its admin port.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use tokio::{sync::watch, task::JoinSet};
use tunnel_admin::{
    About, AdminServer, AdminToken, Password, SecretError, Secrets, Tokens, WebDoor, WebDoorError,
};
use tunnel_server::{Listener, ServerHandle, WebTls};

use super::Failure;
use crate::{
    output::Console,
    resolve::server::{AdminPlan, ServerPlan},
    state::files::{self, FileError},
};

/// The admin port, if there is to be one. Before the server begins: one that can't be had is no server at all.
pub(super) fn door(
    plan: &ServerPlan,
    tls: &WebTls,
    listener: Option<Listener>,
) -> Result<Option<WebDoor>, Failure> {
    let Some((admin, listener)) = plan.admin.as_ref().zip(listener) else {
        return Ok(None);
    };
    let (secrets, AdminPlan { address, hosts, .. }) = (secrets(admin)?, admin);
    let hosts = hosts.iter().chain([&plan.config.domain]).map(|host| host.as_str().to_owned()).collect();
    let tls = (!is_local(*address)).then(|| tls.clone());
    Ok(Some(WebDoor::new(listener, tls, hosts, secrets)?))
}

/// What of the admin port can be said without opening it.
///
/// # Errors
/// As [`door`]'s.
pub(super) fn check(plan: &ServerPlan) -> Result<(), Failure> {
    let Some(admin) = &plan.admin else { return Ok(()) };
    let secrets = secrets(admin)?;
    if is_local(admin.address) {
        return Ok(());
    }
    if secrets.password.is_none() && secrets.token.is_none() {
        return Err(WebDoorError::NoSecret(admin.address).into());
    }
    if plan.certificates.is_empty() {
        return Err(WebDoorError::NoTls(admin.address).into());
    }
    Ok(())
}

fn secrets(admin: &AdminPlan) -> Result<Secrets, Failure> {
    Ok(Secrets {
        password: secret(admin.password.as_deref(), "--admin-password-file", Password::new)?,
        token: secret(admin.token.as_deref(), "--admin-token-file", AdminToken::new)?,
    })
}

/// Shows and steers this process's server.
pub(super) struct Admin {
    about: About,
    engine: ServerHandle,
    tokens: Arc<dyn Tokens>,
    data: PathBuf,
    console: Console,
}

impl Admin {
    pub(super) fn new(
        plan: &ServerPlan,
        engine: ServerHandle,
        tokens: Arc<dyn Tokens>,
        console: Console,
    ) -> Self {
        let about = About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            domain: plan.config.domain.as_str().to_owned(),
            started: SystemTime::now(),
        };
        Self { about, engine, tokens, data: plan.data.clone(), console }
    }

    /// Answers at all doors until dropped; one that takes over from another takes its socket's name as well, and takes
    /// it back from a successor that died. A server without its socket serves visitors all the same.
    ///
    /// The doors are open when this returns.
    pub(super) fn run(
        self,
        door: Option<WebDoor>,
        takes_over: bool,
        mut taken_back: watch::Receiver<()>,
    ) -> impl Future<Output = ()> {
        let mut server = self.with_socket(takes_over);
        if let Some(door) = door {
            server = server.web(door);
        }
        async move {
            let mut first = JoinSet::new();
            first.spawn(server.run());
            let mut anew = JoinSet::new();
            while taken_back.changed().await.is_ok() {
                anew.abort_all();
                anew.spawn(self.with_socket(true).run());
            }
            while first.join_next().await.is_some() {}
        }
    }

    fn server(&self) -> AdminServer {
        AdminServer::new(self.about.clone(), self.engine.clone(), self.tokens.clone())
    }

    #[cfg(unix)]
    fn with_socket(&self, takes_over: bool) -> AdminServer {
        use tunnel_admin::{AdminSocket, Takeover};
        let takeover = if takes_over { Takeover::Yes } else { Takeover::No };
        match AdminSocket::bind(&self.data.join(super::ask::SOCKET), takeover) {
            Ok(socket) => self.server().socket(socket),
            Err(error) => {
                let why = crate::output::chain(&error);
                self.console
                    .warning(&format!("no admin socket, so `tunnel status` can't reach this server: {why}"));
                self.server()
            }
        }
    }

    #[cfg(not(unix))]
    fn with_socket(&self, _takes_over: bool) -> AdminServer {
        self.server()
    }
}

fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// A secret out of its file, which nobody else may read.
fn secret<T>(
    path: Option<&Path>,
    flag: &'static str,
    make: impl FnOnce(&str) -> Result<T, SecretError>,
) -> Result<Option<T>, Failure> {
    let Some(path) = path else { return Ok(None) };
    if let Some(mode) = files::open_to_others(path) {
        return Err(FileError::TooOpen { path: path.to_owned(), mode }.into());
    }
    let text = fs::read_to_string(path).map_err(|source| FileError::Read {
        path: path.to_owned(),
        flag: Some(flag),
        source,
    })?;
    Ok(Some(make(text.trim_end_matches(['\n', '\r']))?))
}
