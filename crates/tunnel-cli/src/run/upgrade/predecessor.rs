//! The new process's side: taking over from the process that started this one.

use std::{
    fs::File,
    io,
    net::{TcpListener, UdpSocket},
    os::fd::{AsFd, OwnedFd},
};

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tunnel_server::{Estate, PortSocket};

use super::{
    channel::Channel,
    words::{Kind, ToPredecessor, ToSuccessor, WORDS},
};
use crate::{
    program::Program,
    run::{Failure, sockets::Role},
    state::ownership::Ownership,
};

/// The process whose place this one takes.
#[derive(Debug)]
pub(in crate::run) struct Predecessor {
    channel: Channel,
    /// Its listening sockets.
    sockets: Vec<(Role, TcpListener)>,
    /// Where upgrades are asked for.
    door: Option<OwnedFd>,
    /// What makes the data directory this server's.
    ownership: Option<Ownership>,
}

impl Predecessor {
    /// Meets the predecessor and takes its listening sockets, if this process was started by one.
    pub(in crate::run) async fn meet(program: &Program) -> Result<Option<Self>, Failure> {
        if !program.is_successor {
            return Ok(None);
        }
        // From now on the signal can't kill this process, which is the service as soon as it has taken over.
        drop(signal(SignalKind::user_defined2()).map_err(Failure::Signals)?);
        let meeting = async {
            let channel = from_standard_input()?;
            let mut this = Self { channel, sockets: Vec::new(), door: None, ownership: None };
            this.take_sockets().await?;
            Ok(this)
        };
        meeting.await.map(Some).map_err(Failure::Predecessor)
    }

    async fn take_sockets(&mut self) -> io::Result<()> {
        loop {
            match self.next().await? {
                (ToSuccessor::Begin { words: WORDS }, _) => {}
                (ToSuccessor::Begin { words }, _) => {
                    let reason = format!(
                        "this version hands over in other words ({WORDS}) than the running one ({words})"
                    );
                    return Err(io::Error::other(reason));
                }
                (ToSuccessor::Socket { role }, Some(file)) => self.sockets.push((role, file.into())),
                (ToSuccessor::Door, Some(file)) => self.door = Some(file),
                (ToSuccessor::Prepare, file) => {
                    self.ownership = file.map(|file| File::from(file).into());
                    return Ok(());
                }
                (other, _) => return Err(unexpected(&other)),
            }
        }
    }

    /// Its listening sockets, once.
    pub(in crate::run) fn sockets(&mut self) -> Vec<(Role, TcpListener)> {
        std::mem::take(&mut self.sockets)
    }

    /// Where upgrades are asked for, once.
    pub(in crate::run) fn door(&mut self) -> Option<OwnedFd> {
        self.door.take()
    }

    /// The lock of the data directory, once, if the predecessor has passed it on.
    pub(in crate::run) fn ownership(&mut self) -> Option<Ownership> {
        self.ownership.take()
    }

    /// Says that this process can take over, and takes what the predecessor has.
    pub(in crate::run) async fn inherit(&mut self) -> Result<Estate, Failure> {
        self.take_estate().await.map_err(Failure::Predecessor)
    }

    async fn take_estate(&mut self) -> io::Result<Estate> {
        self.channel
            .send(&ToPredecessor::Ready { version: env!("CARGO_PKG_VERSION").to_owned() }, None)
            .await?;
        let mut estate = Estate::default();
        loop {
            match self.next().await? {
                (ToSuccessor::Lease { lease }, _) => estate.leases.push(lease),
                (ToSuccessor::Port { kind }, Some(file)) => estate.ports.push(match kind {
                    Kind::Tcp => PortSocket::Tcp(TcpListener::from(file)),
                    Kind::Udp => PortSocket::Udp(UdpSocket::from(file)),
                }),
                (ToSuccessor::Run, _) => return Ok(estate),
                (other, _) => return Err(unexpected(&other)),
            }
        }
    }

    /// Says why this process can't take over.
    pub(in crate::run) async fn fail(&self, reason: &str) {
        // Whoever doesn't hear it sees that the process has ended.
        let _ = self.channel.send(&ToPredecessor::Failed { reason: reason.to_owned() }, None).await;
    }

    /// Waits until the predecessor says that visitors are to be let in, or is gone.
    pub(in crate::run) async fn opened(mut self) {
        let said = self.next().await;
        info!(asked = said.is_ok(), "taking visitors");
    }

    async fn next(&mut self) -> io::Result<(ToSuccessor, Option<OwnedFd>)> {
        self.channel.receive().await?.ok_or_else(|| io::Error::other("it has ended"))
    }
}

/// Takes the socket that came as standard input, which a server has no use for.
fn from_standard_input() -> io::Result<Channel> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Channel::new(socket.into())
}

fn unexpected(message: &ToSuccessor) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it said {message:?} out of turn"))
}
