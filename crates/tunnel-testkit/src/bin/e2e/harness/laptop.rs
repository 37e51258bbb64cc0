//! The machine behind NAT: a home, a token, and the clients that run there.

use std::{net::SocketAddr, path::PathBuf, process::Stdio, sync::Arc};

use tokio::{process::Command, time::Instant};

use super::{Fault, Outcome, Process, Told, World};

/// Somebody's laptop.
#[derive(Clone, Debug)]
pub(crate) struct Laptop {
    world: Arc<World>,
    home: String,
    server: SocketAddr,
    variables: Vec<(String, String)>,
}

/// A client that has said where its tunnel is.
#[derive(Clone, Debug)]
pub(crate) struct Online {
    /// The public address.
    pub(crate) url: String,
    /// When it said so.
    pub(crate) at: Instant,
}

impl Laptop {
    /// A laptop whose token is in the environment. Two of the same `home` are one.
    pub(crate) fn new(world: &Arc<World>, home: &str, server: SocketAddr, token: &str) -> Self {
        let variables = vec![("TUNNEL_TOKEN".to_owned(), token.to_owned())];
        Self { world: world.clone(), home: home.into(), server, variables }
    }

    /// Sets a variable for the clients to come.
    pub(crate) fn set(&mut self, variable: &str, value: &str) {
        self.variables.retain(|(name, _)| name != variable);
        self.variables.push((variable.into(), value.into()));
    }

    /// Without a variable.
    pub(crate) fn unset(&mut self, variable: &str) {
        self.variables.retain(|(name, _)| name != variable);
    }

    /// The file of the names that clients here were given.
    pub(crate) fn names_file(&self) -> PathBuf {
        self.world.path(&self.home).join("state/tunnel/names.json")
    }

    /// `tunnel KIND UPSTREAM FLAGS`, to run or to start.
    #[expect(clippy::needless_pass_by_value, reason = "an address or a port is at hand as a value")]
    pub(crate) fn command(&self, kind: &str, upstream: impl ToString, flags: &[&str]) -> Command {
        let (upstream, server) = (upstream.to_string(), self.server.to_string());
        let mut command = self.world.tunnel(&self.home, [kind, &upstream, "--server", &server]);
        command.args(flags).envs(self.variables.iter().cloned()).stdout(Stdio::piped());
        command
    }

    /// Starts `tunnel http UPSTREAM FLAGS` and doesn't wait for anything.
    pub(crate) fn start(&self, kind: &str, upstream: impl ToString, flags: &[&str]) -> Outcome<Process> {
        let mut command = self.command(kind, upstream, flags);
        command.args(["--output", "json"]);
        self.world.start(&format!("the client in {}", self.home), command)
    }

    /// Starts `tunnel http UPSTREAM --subdomain NAME` and waits until it is online.
    pub(crate) async fn http(&self, upstream: SocketAddr, name: &str) -> Outcome<(Process, Online)> {
        let mut process = self.start("http", upstream, &["--subdomain", name])?;
        let online = online(&mut process, 0).await?;
        Ok((process, online))
    }

    /// Starts `tunnel tcp UPSTREAM`, waits until it is online, and gives the address for visitors.
    pub(crate) async fn tcp(&self, upstream: SocketAddr) -> Outcome<(Process, SocketAddr)> {
        let mut process = self.start("tcp", upstream, &[])?;
        let online = online(&mut process, 0).await?;
        let port = online.url.rsplit(':').next().and_then(|port| port.parse().ok());
        let port: u16 = port.ok_or(Fault::new(format!("no port in `{}`", online.url)))?;
        Ok((process, ([127, 0, 0, 1], port).into()))
    }
}

impl Online {
    /// Waits until a client says, after `mark`, that it is online.
    pub(crate) async fn wait(process: &mut Process, mark: usize) -> Outcome<Self> {
        online(process, mark).await
    }

    /// The host, with the port, as visitors write it.
    pub(crate) fn host(&self) -> &str {
        self.url.trim_start_matches("http://").trim_end_matches('/')
    }
}

async fn online(process: &mut Process, mark: usize) -> Outcome<Online> {
    let (event, at) = process.event(mark, "online").await.told("waiting for the tunnel")?;
    let url = event["url"].as_str().ok_or(Fault::new("`online` has no `url`"))?;
    Ok(Online { url: url.to_owned(), at })
}
