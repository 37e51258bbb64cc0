//! The new process's side: taking over from the process that started this one.

use std::{
    fs::File,
    io,
    net::{TcpListener, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    task::unconstrained,
    time::{MissedTickBehavior, interval},
};
use tracing::info;
use tunnel_server::{Estate, PortSocket, SavedLease};

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
    /// Whether it listens for signs of life.
    hears: bool,
}

/// How often it is told that this process lives, until it has handed over.
const BEAT: Duration = Duration::from_millis(500);

impl Predecessor {
    /// Meets the predecessor and takes its listening sockets, if this process was started by one.
    pub(in crate::run) async fn meet(program: &Program) -> Result<Option<Self>, Failure> {
        if !program.is_successor {
            return Ok(None);
        }
        // From now on the signal can't kill this process, which is the service as soon as it has taken over.
        drop(signal(SignalKind::user_defined2()).map_err(Failure::Signals)?);
        let meeting = async {
            let mut this = Self::new(from_standard_input()?);
            this.take_sockets().await?;
            Ok(this)
        };
        meeting.await.map(Some).map_err(Failure::Predecessor)
    }

    fn new(channel: Channel) -> Self {
        Self { channel, sockets: Vec::new(), door: None, ownership: None, hears: false }
    }

    async fn take_sockets(&mut self) -> io::Result<()> {
        loop {
            match self.next().await? {
                (ToSuccessor::Begin { words: WORDS, hears }, _) => self.hears = hears,
                (ToSuccessor::Begin { words, .. }, _) => {
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
        let estate = self.take_estate().await.map_err(Failure::Predecessor)?;
        // One that listens says nothing else before it has heard a sign of life.
        let is_disowned = self.hears
            && tokio::select! {
                biased;
                // Also if the many messages before it have used up the task's budget.
                _ = unconstrained(self.next()) => true,
                () = std::future::ready(()) => false,
            };
        if is_disowned { Err(Failure::Disowned) } else { Ok(estate) }
    }

    async fn take_estate(&mut self) -> io::Result<Estate> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.channel.send(&ToPredecessor::Ready { version, beats: true, releases: true }, None).await?;
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

    /// Waits until the predecessor says that visitors are to be let in, or is gone; `look` looks at the server before
    /// each sign of life, so that one that is stuck gives none. `let_go` hears of names that were given up meanwhile.
    ///
    /// # Errors
    /// It has taken everything back: this process must serve nobody.
    pub(super) async fn opened(
        &mut self,
        look: impl Fn(),
        mut let_go: impl FnMut(SavedLease),
    ) -> Result<(), Failure> {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let said = loop {
            tokio::select! {
                // What it said while this process hung comes first.
                biased;
                said = self.next() => match said {
                    Ok((ToSuccessor::Release { lease }, _)) => let_go(lease),
                    said => break said,
                },
                _ = beats.tick(), if self.hears => {
                    look();
                    // If it is gone, that is heard of in its turn.
                    let _ = self.channel.send(&ToPredecessor::Beat, None).await;
                }
            }
        };
        if matches!(said, Ok((ToSuccessor::Disown, _))) {
            return Err(Failure::Disowned);
        }
        info!(asked = said.is_ok(), "taking visitors");
        Ok(())
    }

    /// Says that visitors are let in, and waits until the predecessor has left the service to this process. `let_go`
    /// hears of names that were given up there until then.
    ///
    /// # Errors
    /// It didn't hear that in time, and has taken everything back.
    pub(super) async fn left(mut self, mut let_go: impl FnMut(SavedLease)) -> Result<(), Failure> {
        if self.hears {
            let _ = self.channel.send(&ToPredecessor::Opened, None).await;
        }
        loop {
            match self.next().await {
                Ok((ToSuccessor::Release { lease }, _)) => let_go(lease),
                Ok((ToSuccessor::Disown, _)) => return Err(Failure::Disowned),
                _ => return Ok(()),
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A process whose predecessor is the test.
    fn meet(hears: bool) -> (Channel, Predecessor) {
        let (theirs, ours) = Channel::pair().unwrap();
        (theirs, Predecessor { hears, ..Predecessor::new(Channel::new(ours.into()).unwrap()) })
    }

    async fn heard(channel: &mut Channel) -> ToPredecessor {
        channel.receive().await.unwrap().unwrap().0
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_signs_of_life_until_it_takes_visitors() {
        let (mut old, mut new) = meet(true);
        let driving = async {
            for _ in 0..3 {
                assert!(matches!(heard(&mut old).await, ToPredecessor::Beat));
            }
            old.send(&ToSuccessor::Open, None).await.unwrap();
            while matches!(heard(&mut old).await, ToPredecessor::Beat) {}
            drop(old);
        };
        let serving = async {
            new.opened(|| {}, drop).await.unwrap();
            new.left(drop).await.unwrap();
        };
        tokio::join!(driving, serving);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_listens_for_nothing_is_told_nothing() {
        let (mut old, mut new) = meet(false);
        let driving = async {
            // sleep: by the paused clock, so that signs of life would have been due
            tokio::time::sleep(BEAT * 3).await;
            old.send(&ToSuccessor::Open, None).await.unwrap();
        };
        let (opened, ()) = tokio::join!(new.opened(|| {}, drop), driving);
        opened.unwrap();
        let told = async {
            let told = tokio::time::timeout(BEAT * 3, old.receive::<ToPredecessor>()).await;
            assert!(told.is_err(), "it was told {told:?}");
            drop(old);
        };
        let (left, ()) = tokio::join!(new.left(drop), told);
        left.unwrap();
    }

    #[tokio::test]
    async fn who_was_disowned_before_it_began_does_not_begin() {
        // After any number of messages: a task reads so many at a time.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for ports in 0..130 {
            for is_disowned in [false, true] {
                let (old, mut new) = meet(true);
                tokio::task::yield_now().await;
                for _ in 0..ports {
                    let port = ToSuccessor::Port { kind: Kind::Udp };
                    old.send(&port, Some(socket.as_fd())).await.unwrap();
                }
                old.send(&ToSuccessor::Run, None).await.unwrap();
                if is_disowned {
                    old.send(&ToSuccessor::Disown, None).await.unwrap();
                }
                let inherited = new.inherit().await;
                assert_eq!(matches!(inherited, Err(Failure::Disowned)), is_disowned, "{ports} ports");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_disowned_serves_nobody_whenever_it_hears_of_it() {
        let (old, mut new) = meet(true);
        old.send(&ToSuccessor::Disown, None).await.unwrap();
        drop(old);
        assert!(matches!(new.opened(|| {}, drop).await, Err(Failure::Disowned)));
        let (old, mut new) = meet(true);
        old.send(&ToSuccessor::Open, None).await.unwrap();
        old.send(&ToSuccessor::Disown, None).await.unwrap();
        drop(old);
        new.opened(|| {}, drop).await.unwrap();
        assert!(matches!(new.left(drop).await, Err(Failure::Disowned)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_given_up_meanwhile_is_let_go_before_visitors_come() {
        let (old, mut new) = meet(true);
        let saved = serde_json::json!({
            "udp_port": 7, "token": "01".repeat(8), "name": "ci", "instance": "02".repeat(16), "machine": "laptop",
        });
        let lease: SavedLease = serde_json::from_value(saved).unwrap();
        old.send(&ToSuccessor::Release { lease: lease.clone() }, None).await.unwrap();
        old.send(&ToSuccessor::Open, None).await.unwrap();
        let mut let_go = Vec::new();
        new.opened(|| {}, |lease| let_go.push(lease)).await.unwrap();
        assert_eq!(let_go, std::slice::from_ref(&lease));
        // As is what was given up at the very end.
        old.send(&ToSuccessor::Release { lease: lease.clone() }, None).await.unwrap();
        drop(old);
        new.left(|lease| let_go.push(lease)).await.unwrap();
        assert_eq!(let_go, [lease.clone(), lease]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_whose_predecessor_dies_takes_its_place() {
        let (old, mut new) = meet(true);
        drop(old);
        new.opened(|| {}, drop).await.unwrap();
        new.left(drop).await.unwrap();
    }
}
