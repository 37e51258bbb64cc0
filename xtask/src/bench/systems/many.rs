//! Many tunnels at once, of one client or of many: what a whole team's server holds.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::running::{CLIENT, Running};
use super::{Kind, System, rathole, tunnel};
use crate::bench::keeper::Keeper;
use crate::bench::place::Place;

/// How long many may take to start.
const PATIENCE: Duration = Duration::from_secs(120);

/// So many.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Many {
    /// Clients. Where one can have any number of tunnels, it is one all the same.
    pub(in crate::bench) clients: usize,
    /// TCP tunnels of each.
    pub(in crate::bench) each: usize,
}

impl System {
    /// Whether it can have many tunnels: rathole can with plain TCP only, for a thousand Noise handshakes at
    /// once never end.
    pub(in crate::bench) fn has_many(&self) -> bool {
        matches!(self.kind, Kind::Tunnel { .. } | Kind::Rathole { noise: false, .. })
    }

    /// Starts the system with so many TCP tunnels in front of `upstream`; where visitors of each connect.
    ///
    /// # Errors
    /// When it doesn't start, with what its processes said.
    pub(in crate::bench) fn start_many<'k>(
        &self,
        keeper: &'k Keeper,
        place: &'k Place,
        upstream: u16,
        many: Many,
    ) -> Result<(Running<'k>, Vec<SocketAddr>)> {
        let mut running = Running::new(keeper, place)?;
        running.be_patient(PATIENCE);
        let started = match &self.kind {
            Kind::Tunnel { binary, plaintext } => tunnels(&mut running, binary, *plaintext, upstream, many),
            Kind::Rathole { binary, noise: false } => {
                rathole::start_many(&mut running, binary, upstream, many.clients * many.each)
            }
            Kind::Rathole { .. } | Kind::Direct | Kind::Bore { .. } => bail!("it can't have many tunnels"),
        };
        let targets =
            started.with_context(|| format!("{} did not start; it said:\n{}", self.name, running.said()))?;
        Ok((running, targets))
    }
}

/// Ours: a token and a settings file for each client.
fn tunnels(
    running: &mut Running<'_>,
    binary: &Path,
    plaintext: bool,
    upstream: u16,
    many: Many,
) -> Result<Vec<SocketAddr>> {
    let data = running.directory().join("data");
    let data = data.to_str().context("a temporary directory that isn't UTF-8")?.to_owned();
    let control = tunnel::start_server(running, binary, plaintext, &data)?.0;
    let mut clients = Vec::new();
    for number in 0..many.clients {
        let token = token(binary, &data, &format!("client-{number}"))?;
        let path = running.directory().join(format!("client-{number}.toml"));
        let mut settings =
            format!("version = 1\nserver = \"{control}\"\ntoken = \"{token}\"\noutput = \"json\"\n");
        if plaintext {
            settings.push_str("plaintext = true\n");
        }
        for tunnel in 0..many.each {
            write!(settings, "[tunnel.t{tunnel}]\nkind = \"tcp\"\nupstream = {upstream}\n")?;
        }
        secret(&path, &settings)?;
        let path = path.to_str().context("a temporary directory that isn't UTF-8")?;
        clients.push(running.run(CLIENT, binary, &["start", "--all", "--config", path])?);
    }
    let server = running.place().server();
    let mut targets = Vec::new();
    for client in clients {
        let ports = running.wait_for_all(&client, many.each, |line| {
            tunnel::online(line)?.rsplit(':').next()?.parse::<u16>().ok()
        })?;
        targets.extend(ports.into_iter().map(|port| SocketAddr::from((server, port))));
    }
    Ok(targets)
}

/// Writes what only this user may read: it holds a token.
fn secret(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

fn token(binary: &Path, data: &str, name: &str) -> Result<String> {
    let mut command = Command::new(binary);
    let output = command.args(["token", "create", name, "--data-dir", data]).env_clear().output()?;
    ensure!(output.status.success(), "no token: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
