//! The machine that visitors can reach: what stays when its server is killed and started again.

use std::{net::SocketAddr, path::PathBuf, process::Stdio, sync::Arc};

use serde_json::Value;
use tokio::time::Instant;

use super::{Ended, Fault, HeldSockets, Outcome, Process, Told, World, held};

/// A data directory, ports and flags.
#[derive(Debug)]
pub(crate) struct Vps {
    world: Arc<World>,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
    /// Control and web; 0 until the first start.
    ports: (u16, u16),
    held: Option<HeldSockets>,
    /// How many files the servers to come may have open.
    open_files: Option<usize>,
    /// Where the program is, if it isn't the one that everybody uses.
    program: Option<PathBuf>,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    /// When it said that it listens.
    pub(crate) listening: Instant,
    /// The token of a server that had none.
    pub(crate) first_token: Option<String>,
    /// Where visitors with TLS connect, if anywhere.
    https: Option<SocketAddr>,
}

impl Vps {
    /// A machine on which no server ever ran. TCP ports are below those that the system gives out itself.
    pub(crate) fn new(world: &Arc<World>, flags: &[&str]) -> Outcome<Self> {
        let mut random = [0; 2];
        getrandom::fill(&mut random)?;
        // Several of these may run on one machine at a time.
        let first = 20_000 + u16::from_be_bytes(random) % 100 * 100;
        let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        flags.extend(["--tcp-ports".into(), format!("{first}-{}", first + 99)]);
        Ok(Self {
            world: world.clone(),
            flags,
            variables: Vec::new(),
            ports: (0, 0),
            held: None,
            open_files: None,
            program: None,
        })
    }

    /// The same, its sockets held by somebody who keeps them open while the server restarts.
    pub(crate) fn with_held_sockets(world: &Arc<World>, flags: &[&str]) -> Outcome<Self> {
        let held = HeldSockets::open()?;
        Ok(Self { ports: held.ports()?, held: Some(held), ..Self::new(world, flags)? })
    }

    /// Sets a variable for the servers to come.
    pub(crate) fn set(&mut self, variable: &str, value: &str) {
        self.variables.push((variable.into(), value.into()));
    }

    /// Lets the servers to come open so many files, and no more.
    pub(crate) fn limit_open_files(&mut self, limit: usize) {
        self.open_files = Some(limit);
    }

    /// Has a file of its own for the program, which can be replaced; gives its path.
    pub(crate) fn install(&mut self) -> Outcome<PathBuf> {
        let path = self.world.path("installed-tunnel");
        self.world.install(&path)?;
        self.program = Some(path.clone());
        Ok(path)
    }

    /// Has the running server replaced; gives what `tunnel upgrade` said.
    pub(crate) async fn upgrade(&self) -> Outcome<Ended> {
        self.command(&["upgrade"]).await
    }

    /// Runs a command that asks the running server.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Outcome<Ended> {
        let data = self.data_dir();
        self.world.run(self.world.tunnel("vps", [arguments, &["--data-dir", &data]].concat())).await
    }

    /// Starts the server, and waits until it listens.
    pub(crate) async fn start(&mut self) -> Outcome<Server> {
        let (control, web) = self.ports;
        let mut arguments: Vec<String> =
            ["server", "--bind", "127.0.0.1", "--log-format", "json"].map(Into::into).into();
        arguments.extend(["--control-port".into(), control.to_string()]);
        arguments.extend(["--public-port".into(), web.to_string()]);
        arguments.extend(["--data-dir".into(), self.data_dir()]);
        arguments.extend(self.flags.iter().cloned());
        let mut command = match (&self.held, self.open_files, &self.program) {
            (Some(_), ..) => self.world.tunnel_after("vps", held::PRELUDE, arguments),
            (None, Some(limit), _) => {
                self.world.tunnel_after("vps", &format!("ulimit -n {limit}"), arguments)
            }
            (None, None, Some(program)) => {
                let mut command = self.world.command(program, "vps");
                command.args(arguments);
                command
            }
            (None, None, None) => self.world.tunnel("vps", arguments),
        };
        command.envs(self.variables.iter().cloned()).stdout(Stdio::piped());
        if let Some(held) = &self.held {
            held.pass_to(&mut command)?;
        }
        let mut process = self.world.start("the server", command)?;
        let (event, listening) = process.event(0, "listening").await?;
        self.ports = (port(&event, "control")?, port(&event, "web")?);
        let is_first = (control, web) == (0, 0) && !self.flags.iter().any(|flag| flag == "--auth");
        let first_token = match is_first {
            true => {
                let (event, _) = process.event(0, "token-created").await?;
                event["token"].as_str().map(str::to_owned)
            }
            false => None,
        };
        let https = event["https"].as_str().and_then(|address| address.parse().ok());
        Ok(Server { process, listening, first_token, https })
    }

    /// Makes a token for `name`.
    pub(crate) async fn token(&self, name: &str) -> Outcome<String> {
        let ended = self.token_command(&["create", name]).await?;
        match (ended.status, ended.stdout.lines().collect::<Vec<_>>().as_slice()) {
            (Some(0), [token]) => Ok((*token).to_owned()),
            _ => Err(Fault::new(format!("`tunnel token create` printed something else: {ended:?}"))),
        }
    }

    /// Ends a token.
    pub(crate) async fn revoke(&self, name: &str) -> Outcome {
        let ended = self.token_command(&["revoke", name]).await?;
        if ended.status == Some(0) { Ok(()) } else { Err(Fault::new(format!("revoking failed: {ended:?}"))) }
    }

    /// Runs `tunnel token …`.
    pub(crate) async fn token_command(&self, arguments: &[&str]) -> Outcome<Ended> {
        let data = self.data_dir();
        let arguments: Vec<&str> = [&["token", "--data-dir", &data], arguments].concat();
        self.world.run(self.world.tunnel("vps", arguments)).await
    }

    /// Where clients connect.
    pub(crate) fn control(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports.0).into()
    }

    /// Where web visitors connect.
    pub(crate) fn web(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports.1).into()
    }

    /// A tunnel's host, as visitors write it.
    pub(crate) fn host(&self, name: &str) -> String {
        format!("{name}.localhost:{}", self.ports.1)
    }

    /// The file of the names that are held.
    pub(crate) fn leases_file(&self) -> PathBuf {
        PathBuf::from(self.data_dir()).join("leases.json")
    }

    /// Where the server keeps its things.
    pub(crate) fn data_dir(&self) -> String {
        self.world.path("server-data").display().to_string()
    }
}

impl Server {
    /// The token of a server that had none.
    pub(crate) fn token(&self) -> Outcome<String> {
        self.first_token.clone().ok_or(Fault::new("the server made no token"))
    }

    /// Where visitors with TLS connect.
    pub(crate) fn https(&self) -> Outcome<SocketAddr> {
        self.https.ok_or(Fault::new("the server has no https port"))
    }
}

fn port(event: &Value, field: &str) -> Outcome<u16> {
    let address = event[field].as_str().ok_or(Fault::new(format!("`listening` has no `{field}`")))?;
    Ok(address.parse::<SocketAddr>().told(format!("reading `{address}`"))?.port())
}
