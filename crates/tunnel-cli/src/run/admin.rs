//! What shows and steers a running server: its admin socket, and its admin port.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::SystemTime};

use tunnel_admin::{About, AdminServer, AdminToken, Password, SecretError, Secrets, Tokens, WebDoor};
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
    let Some((AdminPlan { address, password, token, hosts }, listener)) = plan.admin.as_ref().zip(listener)
    else {
        return Ok(None);
    };
    let secrets = Secrets {
        password: secret(password.as_deref(), Password::new)?,
        token: secret(token.as_deref(), AdminToken::new)?,
    };
    let hosts = hosts.iter().chain([&plan.config.domain]).map(|host| host.as_str().to_owned()).collect();
    let tls = (!is_local(*address)).then(|| tls.clone());
    Ok(Some(WebDoor::new(listener, tls, hosts, secrets)?))
}

/// The admin server with all its doors; one that takes over from another takes its socket's name as well. A server without its socket serves visitors all the same.
pub(super) fn open(
    plan: &ServerPlan,
    engine: ServerHandle,
    tokens: Arc<dyn Tokens>,
    door: Option<WebDoor>,
    (takes_over, console): (bool, Console),
) -> AdminServer {
    let about = About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        domain: plan.config.domain.as_str().to_owned(),
        started: SystemTime::now(),
    };
    let mut admin = AdminServer::new(about, engine, tokens);
    if let Some(door) = door {
        admin = admin.web(door);
    }
    with_socket(admin, plan, takes_over, console)
}

fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// A secret out of its file, which nobody else may read.
fn secret<T>(
    path: Option<&Path>,
    make: impl FnOnce(&str) -> Result<T, SecretError>,
) -> Result<Option<T>, Failure> {
    let Some(path) = path else { return Ok(None) };
    if let Some(mode) = files::open_to_others(path) {
        return Err(FileError::TooOpen { path: path.to_owned(), mode }.into());
    }
    let text =
        fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    Ok(Some(make(text.trim_end_matches(['\n', '\r']))?))
}

#[cfg(unix)]
fn with_socket(admin: AdminServer, plan: &ServerPlan, takes_over: bool, console: Console) -> AdminServer {
    use tunnel_admin::{AdminSocket, Takeover};
    let takeover = if takes_over { Takeover::Yes } else { Takeover::No };
    match AdminSocket::bind(&plan.data.join(super::ask::SOCKET), takeover) {
        Ok(socket) => admin.socket(socket),
        Err(error) => {
            let why = crate::output::chain(&error);
            console.warning(&format!("no admin socket, so `tunnel status` can't reach this server: {why}"));
            admin
        }
    }
}

#[cfg(not(unix))]
fn with_socket(admin: AdminServer, _plan: &ServerPlan, _takes_over: bool, _console: Console) -> AdminServer {
    admin
}
