//! bore: a connection for each visitor, made when it comes; never encrypted.

use std::path::Path;

use anyhow::Result;

use super::free_port;
use super::running::{CLIENT, Running, SERVER};

/// Its control port can't be chosen, so that two benches at a time disturb each other here.
const CONTROL_PORT: u16 = 7835;

pub(super) fn start(running: &mut Running<'_>, binary: &Path, upstream: u16) -> Result<()> {
    let public = free_port(running.place())?.to_string();
    let server = running.place().server().to_string();
    running.run(
        SERVER,
        binary,
        &["server", "--bind-addr", &server, "--min-port", &public, "--max-port", &public],
    )?;
    running.wait(|| std::net::TcpStream::connect((server.as_str(), CONTROL_PORT)).ok())?;
    let local = upstream.to_string();
    let arguments = ["local", &local, "--local-host", "127.0.0.1", "--to", &server, "--port", &public];
    running.run(CLIENT, binary, &arguments)?;
    running.target((running.place().server(), public.parse()?).into(), format!("{server}:{public}"));
    Ok(())
}
