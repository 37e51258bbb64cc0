//! An upstream that never says anything, as a process: its crowd of sockets doesn't count against ours.

use std::{net::SocketAddr, process::ExitCode};

use tokio::net::{TcpListener, TcpSocket};

use super::{Fault, Outcome, Process, Told, World, procfs};

/// The argument that makes this program one.
pub(crate) const SILENT_UPSTREAM: &str = "silent-upstream";

/// Takes connections until it is killed, prints its address first. Its open files tell how many it has.
pub(crate) fn silent_upstream() -> ExitCode {
    procfs::raise_open_files();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(async {
        let Ok(listener) = listen() else { return };
        let Ok(address) = listener.local_addr() else { return };
        println!("{address}");
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            while connections.try_join_next().is_some() {}
            connections.spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
        }
    });
    ExitCode::FAILURE
}

fn listen() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(BACKLOG)
}

/// Connections that wait to be taken: more than the crowd has on its way at a time.
const BACKLOG: u32 = 1024;

/// A process of that kind.
#[derive(Debug)]
pub(crate) struct SilentUpstream {
    process: Process,
    at_rest: usize,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl SilentUpstream {
    pub(crate) async fn start(world: &World) -> Outcome<Self> {
        let mut command = world.command(&std::env::current_exe()?, "upstream");
        command.arg(SILENT_UPSTREAM).stdout(std::process::Stdio::piped());
        let mut process = world.start("the silent upstream", command)?;
        let address = process.line(0, "its address", |line| line.text.parse().ok()).await?;
        let at_rest = process.open_files()?;
        Ok(Self { process, at_rest, address })
    }

    /// How many connections it has.
    pub(crate) fn connections(&self) -> Outcome<usize> {
        let now = self.process.open_files().told("looking at the silent upstream")?;
        now.checked_sub(self.at_rest).ok_or(Fault::new("the silent upstream closed what it had at rest"))
    }
}
