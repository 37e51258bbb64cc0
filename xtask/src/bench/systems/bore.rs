//! bore: a connection for each visitor, made when it comes; never encrypted.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Result;

use super::free_port;
use super::running::{CLIENT, Running, SERVER};

/// Its control port can't be chosen, so that two benches at a time disturb each other here.
const CONTROL_PORT: u16 = 7835;

pub(super) fn start(running: &mut Running<'_>, binary: &Path, upstream: SocketAddr) -> Result<()> {
    let public = free_port()?.to_string();
    running.run(
        SERVER,
        binary,
        &["server", "--bind-addr", "127.0.0.1", "--min-port", &public, "--max-port", &public],
    )?;
    running.wait(|| std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, CONTROL_PORT)).ok())?;
    let local = upstream.port().to_string();
    let arguments = ["local", &local, "--local-host", "127.0.0.1", "--to", "127.0.0.1", "--port", &public];
    running.run(CLIENT, binary, &arguments)?;
    running.target((Ipv4Addr::LOCALHOST, public.parse()?).into(), format!("127.0.0.1:{public}"));
    Ok(())
}
