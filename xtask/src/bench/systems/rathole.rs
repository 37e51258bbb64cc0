//! rathole: a connection for each visitor, from a pool made in advance; plain, or encrypted by the noise protocol.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::running::{CLIENT, Running, SERVER};
use super::{Service, free_port};

pub(super) fn start(
    running: &mut Running<'_>,
    binary: &Path,
    noise: bool,
    upstream: u16,
    service: Service,
) -> Result<()> {
    let kind = if service == Service::Udp { "udp" } else { "tcp" };
    let place = running.place();
    let (address, control, public) = (place.server(), free_port(place)?, free_port(place)?);
    let mut server = format!(
        "[server]\nbind_addr = \"{address}:{control}\"\ndefault_token = \"bench\"\n\
         [server.services.bench]\ntype = \"{kind}\"\nbind_addr = \"{address}:{public}\"\n"
    );
    let mut client = format!(
        "[client]\nremote_addr = \"{address}:{control}\"\ndefault_token = \"bench\"\n\
         [client.services.bench]\ntype = \"{kind}\"\nlocal_addr = \"127.0.0.1:{upstream}\"\n"
    );
    if noise {
        let keys = keys(binary)?;
        let transport = |side, key, value| {
            format!("[{side}.transport]\ntype = \"noise\"\n[{side}.transport.noise]\n{key} = \"{value}\"\n")
        };
        server.write_str(&transport("server", "local_private_key", &keys.private))?;
        client.write_str(&transport("client", "remote_public_key", &keys.public))?;
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
    running.target((address, public).into(), format!("{address}:{public}"));
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
