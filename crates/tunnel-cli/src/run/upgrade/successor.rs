//! The old process's side: starting a successor and handing over to it.

use std::{
    io,
    net::TcpListener,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    time::timeout,
};
use tracing::info;
use tunnel_server::{Estate, PortSocket};

use super::{
    channel::Channel,
    words::{Kind, ToPredecessor, ToSuccessor, WORDS},
};
use crate::{
    program::{Program, SUCCESSOR},
    run::sockets::Role,
    state::ownership::Ownership,
};

/// How long a new process may take until it can take over.
const READY: Duration = Duration::from_secs(30);
/// How long it may take to end once it has closed its side.
const END: Duration = Duration::from_secs(2);
/// How long it may take to read what is handed over.
const TAKING: Duration = Duration::from_secs(10);

/// Variables that were for this process alone.
const OURS: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// A new process that can take over.
#[derive(Debug)]
pub(super) struct Successor {
    channel: Channel,
    pub(super) pid: u32,
    pub(super) version: String,
    /// Not to be waited for once it has taken over: it outlives this process.
    child: Child,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unready {
    #[error("nobody knows where this program's file is")]
    NoProgram,
    #[error("cannot start {}", path.display())]
    Start { path: PathBuf, source: io::Error },
    #[error("the new process ended before it was ready ({0}); what it said is in the server's log")]
    Ended(ExitStatus),
    #[error("the new process can't serve: {0}")]
    Failed(String),
    #[error("the new process wasn't ready within {} s", READY.as_secs())]
    Slow,
    #[error("the new process ended as it took over ({0}); what it said is in the server's log")]
    Died(ExitStatus),
    #[error("the new process failed as it took over, and was killed")]
    Stuck(#[source] io::Error),
    #[error("cannot talk to the new process")]
    Channel(#[from] io::Error),
}

impl Successor {
    /// Starts the program that is at its path now, and waits until it can take over.
    ///
    /// # Cancel safety
    /// When dropped, the new process ends by itself.
    pub(super) async fn start(
        program: &Program,
        sockets: &[(Role, TcpListener)],
        door: Option<BorrowedFd<'_>>,
        ownership: Option<&Ownership>,
    ) -> Result<Self, Unready> {
        let path = program.path.clone().ok_or(Unready::NoProgram)?;
        let (mut channel, theirs) = Channel::pair()?;
        let mut command = Command::new(&path);
        OURS.iter().for_each(|name| _ = command.env_remove(name));
        command.args(&program.arguments).env(SUCCESSOR, "1").stdin(Stdio::from(theirs));
        let child = command.spawn();
        // It holds the other end too, and would hide that the process has ended.
        drop(command);
        let mut child = child.map_err(|source| Unready::Start { path: path.clone(), source })?;
        let pid = child.id().unwrap_or_default();
        info!(pid, path = %path.display(), "a new process is starting");
        let lock = ownership.map(|ownership| ownership.file().as_fd());
        match timeout(READY, prepare(&mut channel, sockets, door, lock)).await {
            Ok(Ok(Some(ToPredecessor::Ready { version }))) => Ok(Self { channel, pid, version, child }),
            Ok(Ok(Some(ToPredecessor::Failed { reason }))) => {
                end(&mut child).await;
                Err(Unready::Failed(reason))
            }
            // A process that ends closes its side, which may be seen as either.
            Ok(Ok(None) | Err(_)) => match end(&mut child).await {
                Some(status) => Err(Unready::Ended(status)),
                None => Err(Unready::Slow),
            },
            Err(_elapsed) => {
                end(&mut child).await;
                Err(Unready::Slow)
            }
        }
    }

    /// Hands over who holds which names, and the open ports.
    ///
    /// # Errors
    /// It can't take them. It has ended then.
    pub(super) async fn take(&mut self, estate: Estate) -> Result<(), Unready> {
        let handing = async {
            for lease in estate.leases {
                self.channel.send(&ToSuccessor::Lease { lease }, None).await?;
            }
            for port in &estate.ports {
                let (kind, file) = match port {
                    PortSocket::Tcp(socket) => (Kind::Tcp, socket.as_fd()),
                    PortSocket::Udp(socket) => (Kind::Udp, socket.as_fd()),
                };
                self.channel.send(&ToSuccessor::Port { kind }, Some(file)).await?;
            }
            self.channel.send(&ToSuccessor::Run, None).await
        };
        let handed = timeout(TAKING, handing).await.unwrap_or_else(|elapsed| Err(elapsed.into()));
        match handed {
            Ok(()) => Ok(()),
            Err(error) => Err(self.died(error).await),
        }
    }

    /// Waits for its end, or until it says that it can't go on; it has ended then.
    ///
    /// # Cancel safety
    /// Cancel safe as long as it is well: then it says nothing.
    pub(super) async fn lost(&mut self) -> Unready {
        match self.channel.receive().await {
            Ok(Some((ToPredecessor::Failed { reason }, _))) => {
                end(&mut self.child).await;
                Unready::Failed(reason)
            }
            Ok(Some((ToPredecessor::Ready { .. }, _))) => {
                self.died(io::Error::other("it said that it is ready a second time")).await
            }
            Ok(None) => self.died(io::Error::from(io::ErrorKind::UnexpectedEof)).await,
            Err(error) => self.died(error).await,
        }
    }

    /// Has it take visitors.
    ///
    /// # Errors
    /// It has ended.
    pub(super) async fn open(&mut self) -> Result<(), Unready> {
        match self.channel.send(&ToSuccessor::Open, None).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.died(error).await),
        }
    }

    async fn died(&mut self, error: io::Error) -> Unready {
        match end(&mut self.child).await {
            Some(status) => Unready::Died(status),
            None => Unready::Stuck(error),
        }
    }
}

async fn prepare(
    channel: &mut Channel,
    sockets: &[(Role, TcpListener)],
    door: Option<BorrowedFd<'_>>,
    lock: Option<BorrowedFd<'_>>,
) -> io::Result<Option<ToPredecessor>> {
    channel.send(&ToSuccessor::Begin { words: WORDS }, None).await?;
    for (role, socket) in sockets {
        channel.send(&ToSuccessor::Socket { role: *role }, Some(socket.as_fd())).await?;
    }
    if let Some(door) = door {
        channel.send(&ToSuccessor::Door, Some(door)).await?;
    }
    channel.send(&ToSuccessor::Prepare, lock).await?;
    Ok(channel.receive().await?.map(|(message, _)| message))
}

/// Waits for the end of a process, and brings it about if it takes long; how it ended by itself.
async fn end(child: &mut Child) -> Option<ExitStatus> {
    if let Ok(status) = timeout(END, child.wait()).await {
        return status.ok();
    }
    let _ = child.start_kill();
    let _ = child.wait().await;
    None
}
