//! Building and running the client in Go.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use tokio::process::Command;

use crate::harness::{Fault, Line, Outcome, Process, Told, World, check};

/// The subdomain that is asked for.
pub(super) const NAME: &str = "interop";

/// How the client is run.
pub(super) struct Client {
    pub(super) world: Arc<World>,
    pub(super) program: PathBuf,
    pub(super) server: SocketAddr,
    pub(super) token: String,
    pub(super) plaintext: bool,
}

/// Where Debian has its Go, and the packages of its libraries.
const GO: &str = "/usr/bin/go";
const GOPATH: &str = "/usr/share/gocode";

/// Builds the client; `None` where there is no Go, or not its library.
pub(super) async fn build(world: &World) -> Outcome<Option<PathBuf>> {
    let (go, library) = (Path::new(GO), Path::new(GOPATH).join("src/github.com/hashicorp/yamux"));
    if !go.exists() || !library.is_dir() {
        return Ok(None);
    }
    let program = world.path("interop-client");
    let mut building = world.command(go, "go");
    building.args(["build", "-o"]).arg(&program).arg(".");
    building.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/go"));
    building.envs([("GO111MODULE", "off"), ("GOPATH", GOPATH), ("CGO_ENABLED", "0")]);
    building.env("GOCACHE", world.path("go-cache"));
    let ended = world.run(building).await.told("building the Go client")?;
    check!(ended.status == Some(0), "the Go client can't be built: {}", ended.stderr);
    Ok(Some(program))
}

impl Client {
    /// Publishes a TCP service; gives where visitors go.
    pub(super) async fn tcp(&self, upstream: SocketAddr) -> Outcome<(Process, SocketAddr)> {
        let (process, url) = self.start("tcp", upstream).await?;
        let port = url.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let port = port.ok_or(Fault::new(format!("no port in `{url}`")))?;
        Ok((process, ([127, 0, 0, 1], port).into()))
    }

    /// Publishes a site; gives its host, as visitors write it.
    pub(super) async fn http(&self, upstream: SocketAddr) -> Outcome<(Process, String)> {
        let (process, url) = self.start("http", upstream).await?;
        Ok((process, url.trim_start_matches("http://").to_owned()))
    }

    async fn start(&self, kind: &str, upstream: SocketAddr) -> Outcome<(Process, String)> {
        let mut process = self.world.start("the Go client", self.command(kind, upstream))?;
        let url = |line: &Line| line.text.contains("://").then(|| line.text.clone());
        let url = process.line(0, "its address", url).await?;
        Ok((process, url))
    }

    /// The client, to run or to start.
    pub(super) fn command(&self, kind: &str, upstream: SocketAddr) -> Command {
        let mut command = self.world.command(&self.program, "laptop");
        command.args([
            "-server",
            &self.server.to_string(),
            "-kind",
            kind,
            "-upstream",
            &upstream.to_string(),
        ]);
        if kind == "http" {
            command.args(["-subdomain", NAME]);
        }
        if self.plaintext {
            command.arg("-plaintext");
        }
        command.env("TUNNEL_TOKEN", &self.token).stdout(Stdio::piped());
        command
    }
}
