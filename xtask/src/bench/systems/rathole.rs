//! rathole: a connection for each visitor, from a pool made in advance; plain, or encrypted by the noise protocol.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::running::{CLIENT, Running, SERVER};
use super::{Service, free_port};
use crate::bench::load;

/// Where many tunnels are to be: below the ports that the system gives to outgoing connections, or one of those might
/// have taken a port before rathole listens on it.
const PORTS: Range<u16> = 20_000..32_000;

pub(super) fn start(
    running: &mut Running<'_>,
    binary: &Path,
    noise: bool,
    upstream: u16,
    service: Service,
) -> Result<()> {
    let kind = if service == Service::Udp { "udp" } else { "tcp" };
    let public = [free_port(running.place())?];
    run(running, binary, noise, upstream, (kind, &public))?;
    let target = SocketAddr::from((running.place().server(), public[0]));
    running.target(target, target.to_string());
    Ok(())
}

/// With so many TCP services; where visitors of each connect.
pub(super) fn start_many(
    running: &mut Running<'_>,
    binary: &Path,
    upstream: u16,
    tunnels: usize,
) -> Result<Vec<SocketAddr>> {
    let server = running.place().server();
    let free = PORTS.filter_map(|port| TcpListener::bind((server, port)).ok()).take(tunnels);
    let ports = free.map(|reserved| reserved.local_addr()).collect::<std::io::Result<Vec<_>>>()?;
    ensure!(ports.len() == tunnels, "{} ports are free in {PORTS:?}, and {tunnels} are wanted", ports.len());
    let public: Vec<u16> = ports.iter().map(SocketAddr::port).collect();
    run(running, binary, false, upstream, ("tcp", &public))?;
    for target in &ports {
        running.wait(|| load::idle_visitors(*target, 1).ok())?;
    }
    Ok(ports)
}

fn run(
    running: &mut Running<'_>,
    binary: &Path,
    noise: bool,
    upstream: u16,
    (kind, public): (&str, &[u16]),
) -> Result<()> {
    let place = running.place();
    let (address, control) = (place.server(), free_port(place)?);
    let mut server = format!("[server]\nbind_addr = \"{address}:{control}\"\ndefault_token = \"bench\"\n");
    let mut client = format!("[client]\nremote_addr = \"{address}:{control}\"\ndefault_token = \"bench\"\n");
    if noise {
        let keys = keys(binary)?;
        let transport = |side, key, value| {
            format!("[{side}.transport]\ntype = \"noise\"\n[{side}.transport.noise]\n{key} = \"{value}\"\n")
        };
        server.write_str(&transport("server", "local_private_key", &keys.private))?;
        client.write_str(&transport("client", "remote_public_key", &keys.public))?;
    }
    for (number, public) in public.iter().enumerate() {
        let service = |side| format!("[{side}.services.bench{number}]\ntype = \"{kind}\"\n");
        writeln!(server, "{}bind_addr = \"{address}:{public}\"", service("server"))?;
        writeln!(client, "{}local_addr = \"127.0.0.1:{upstream}\"", service("client"))?;
    }
    for (name, flag, config) in [(SERVER, "--server", server), (CLIENT, "--client", client)] {
        let path = running.directory().join(format!("{name}.toml"));
        fs::write(&path, config)?;
        running.run(
            name,
            binary,
            &[flag, path.to_str().context("a temporary directory that isn't UTF-8")?],
        )?;
    }
    Ok(())
}

struct Keys {
    private: String,
    public: String,
}

fn keys(binary: &Path) -> Result<Keys> {
    let output = Command::new(binary).arg("--genkey").output().context("rathole --genkey")?;
    ensure!(output.status.success(), "rathole --genkey failed");
    let text = String::from_utf8(output.stdout)?;
    let below = |heading: &str| {
        let mut lines = text.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
        lines.next().map(|line| line.trim().to_owned()).with_context(|| format!("no `{heading}` in {text}"))
    };
    Ok(Keys { private: below("Private Key")?, public: below("Public Key")? })
}
