//! The old process's side: starting a successor and handing over to it.

use std::{
    future::{Future, pending},
    io,
    net::TcpListener,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    pin::pin,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};
use tracing::{info, warn};
use tunnel_server::{Estate, PortSocket, SavedLease};

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
/// How long it may give no sign of life after that; it is to give one each half second.
const SILENCE: Duration = Duration::from_secs(5);
/// In how many pieces that is waited for.
const PIECES: u32 = 10;
/// How long a process that does nothing may take to be told that it is disowned: it fits into the socket, or doesn't.
const DISOWNING: Duration = Duration::from_millis(100);

/// Variables that were for this process alone.
const OURS: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// A new process that can take over.
#[derive(Debug)]
pub(super) struct Successor {
    channel: Channel,
    pub(super) pid: u32,
    pub(super) version: String,
    /// Whether it gives signs of life; one of an older version doesn't.
    beats: bool,
    /// Whether it can be told of names that were given up.
    releases: bool,
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
    #[error("the new process gave no sign of life for {} s as it took over, and was killed", SILENCE.as_secs())]
    Silent,
    #[error("the last leases weren't written within {} s, so the disk is stuck or very slow; the new process was sent away", .0.as_secs())]
    Unwritten(Duration),
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
            Ok(Ok(Some(ToPredecessor::Ready { version, beats, releases }))) => {
                Ok(Self { channel, pid, version, beats, releases, child })
            }
            Ok(Ok(Some(ToPredecessor::Failed { reason }))) => {
                end(&mut child).await;
                Err(Unready::Failed(reason))
            }
            // A process that ends closes its side, which may be seen as either.
            Ok(Ok(_) | Err(_)) => match end(&mut child).await {
                Some(status) => Err(Unready::Ended(status)),
                None => Err(Unready::Slow),
            },
            Err(_elapsed) => {
                end(&mut child).await;
                Err(Unready::Slow)
            }
        }
    }

    /// Hands over who holds which names, and the open ports, and waits until they are served there.
    ///
    /// # Errors
    /// It can't take them, or says nothing. It has ended then.
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
        if let Err(error) = handed {
            return Err(self.died(error).await);
        }
        self.answers(|said| matches!(said, ToPredecessor::Beat)).await
    }

    /// Waits for its end, or until it says that it can't go on; it has ended then.
    ///
    /// # Cancel safety
    /// Cancel safe as long as it is well.
    pub(super) async fn lost(&mut self) -> Unready {
        match self.hear(pending()).await {
            Ok(_) => self.died(io::Error::other("it spoke out of turn")).await,
            Err(unready) => unready,
        }
    }

    /// The same for one that serves what was handed over: also waits until it has given no sign of life for long.
    ///
    /// # Cancel safety
    /// The same.
    pub(super) async fn lost_or_silent(&mut self) -> Unready {
        if !self.beats {
            return self.lost().await;
        }
        loop {
            match self.hear(silence()).await {
                Ok(ToPredecessor::Beat) => {}
                Ok(_) => return self.died(io::Error::other("it spoke out of turn")).await,
                Err(unready) => return unready,
            }
        }
    }

    /// Sends it away, which has been handed nothing yet.
    pub(super) async fn dismiss(&mut self) {
        self.channel.close();
        end(&mut self.child).await;
    }

    /// Has it take visitors, and waits until it does; before, it lets go of what was `given_up` since it was handed over.
    ///
    /// # Errors
    /// It has ended.
    pub(super) async fn open(&mut self, given_up: &[SavedLease]) -> Result<(), Unready> {
        let opening = async {
            self.release(given_up).await?;
            self.channel.send(&ToSuccessor::Open, None).await
        };
        let opened = timeout(TAKING, opening).await.unwrap_or_else(|elapsed| Err(elapsed.into()));
        if let Err(error) = opened {
            return Err(self.died(error).await);
        }
        self.answers(|said| matches!(said, ToPredecessor::Opened)).await
    }

    /// Has it, which takes visitors, let go of what was given up until it did. It serves, whether it hears that or not.
    pub(super) async fn let_go(&self, given_up: &[SavedLease]) {
        let _ = timeout(TAKING, self.release(given_up)).await;
    }

    async fn release(&self, given_up: &[SavedLease]) -> io::Result<()> {
        for lease in given_up.iter().filter(|_| self.releases) {
            self.channel.send(&ToSuccessor::Release { lease: lease.clone() }, None).await?;
        }
        Ok(())
    }

    /// Waits until it says this, if it is one that answers.
    async fn answers(&mut self, is_answer: fn(&ToPredecessor) -> bool) -> Result<(), Unready> {
        if !self.beats {
            return Ok(());
        }
        let mut silence = pin!(silence());
        loop {
            if is_answer(&self.hear(silence.as_mut()).await?) {
                return Ok(());
            }
        }
    }

    /// What it says next, if that isn't its end. It is disowned if it says nothing until `silence` is over.
    async fn hear(&mut self, silence: impl Future<Output = ()>) -> Result<ToPredecessor, Unready> {
        let said = tokio::select! {
            biased;
            said = self.channel.receive() => said,
            () = silence => return Err(self.disown().await),
        };
        match said {
            Ok(Some((ToPredecessor::Failed { reason }, _))) => {
                end(&mut self.child).await;
                Err(Unready::Failed(reason))
            }
            Ok(Some((said, _))) => Ok(said),
            Ok(None) => Err(self.died(io::Error::from(io::ErrorKind::UnexpectedEof)).await),
            Err(error) => Err(self.died(error).await),
        }
    }

    /// Ends one that gives no sign of life. If what is killed isn't the server itself but what started it, the server
    /// may wake one day: it finds that its predecessor is gone, and must not take that for its turn.
    async fn disown(&mut self) -> Unready {
        let _ = timeout(DISOWNING, self.channel.send(&ToSuccessor::Disown, None)).await;
        kill(&mut self.child).await;
        Unready::Silent
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
    channel.send(&ToSuccessor::Begin { words: WORDS, hears: true }, None).await?;
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
    kill(child).await;
    None
}

/// Ends a process. One that waits for a disk ends when that answers, and does nothing until then.
async fn kill(child: &mut Child) {
    let _ = child.start_kill();
    if timeout(END, child.wait()).await.is_err() {
        warn!(pid = child.id(), "the new process was killed, and hasn't ended yet");
    }
}

/// Over when nothing was heard for long. A time in which this process didn't run either (a machine that was paused, a
/// process that was stopped) is one piece of it, however long it was: the other one has had no chance to speak.
async fn silence() {
    for _ in 0..PIECES {
        sleep(SILENCE / PIECES).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A successor whose part the test plays, and a process to be ended in its place.
    fn start(beats: bool) -> (Successor, Channel) {
        let (channel, theirs) = Channel::pair().unwrap();
        let child = Command::new("sleep").arg("1000").kill_on_drop(true).spawn().unwrap();
        let successor = Successor { channel, pid: 0, version: String::new(), beats, releases: beats, child };
        (successor, Channel::new(theirs.into()).unwrap())
    }

    fn lease() -> SavedLease {
        let saved = serde_json::json!({
            "subdomain": "a", "token": "01".repeat(8), "name": "ci", "instance": "02".repeat(16), "machine": "laptop",
        });
        serde_json::from_value(saved).unwrap()
    }

    async fn heard(channel: &mut Channel) -> ToSuccessor {
        channel.receive().await.unwrap().unwrap().0
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_says_nothing_when_it_is_to_take_over_is_disowned_and_ended() {
        let (mut old, mut new) = start(true);
        assert!(matches!(old.take(Estate::default()).await, Err(Unready::Silent)));
        assert!(matches!(heard(&mut new).await, ToSuccessor::Run));
        assert!(matches!(heard(&mut new).await, ToSuccessor::Disown));
        let status = old.child.wait().await.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_falls_silent_while_clients_move_is_disowned() {
        let (mut old, new) = start(true);
        let mut lost = Box::pin(old.lost_or_silent());
        let beating = async {
            for _ in 0..5 {
                new.send(&ToPredecessor::Beat, None).await.unwrap();
                // sleep: by the paused clock
                sleep(SILENCE / 2).await;
            }
        };
        tokio::select! {
            biased;
            unready = &mut lost => panic!("it was well: {unready}"),
            () = beating => {}
        }
        assert!(matches!(lost.await, Unready::Silent));
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_in_which_both_were_stopped_is_not_silence() {
        let (mut old, new) = start(true);
        let mut lost = pin!(old.lost_or_silent());
        for _ in 0..3 {
            tokio::select! {
                biased;
                unready = &mut lost => panic!("it was well: {unready}"),
                // What it waits for is over when it runs again, and no word has come.
                () = tokio::time::advance(SILENCE * 12) => {}
            }
            tokio::select! {
                biased;
                unready = &mut lost => panic!("it was well: {unready}"),
                sent = new.send(&ToPredecessor::Beat, None) => sent.unwrap(),
            }
        }
        assert!(matches!(lost.await, Unready::Silent));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_say_that_it_takes_visitors_is_disowned() {
        let (mut old, mut new) = start(true);
        // It was well before.
        new.send(&ToPredecessor::Beat, None).await.unwrap();
        assert!(matches!(old.open(&[]).await, Err(Unready::Silent)));
        assert!(matches!(heard(&mut new).await, ToSuccessor::Open));
        assert!(matches!(heard(&mut new).await, ToSuccessor::Disown));
        let (mut old, mut new) = start(true);
        new.send(&ToPredecessor::Beat, None).await.unwrap();
        new.send(&ToPredecessor::Opened, None).await.unwrap();
        old.open(&[lease()]).await.unwrap();
        assert!(matches!(heard(&mut new).await, ToSuccessor::Release { .. }));
        assert!(matches!(heard(&mut new).await, ToSuccessor::Open));
        old.let_go(&[lease()]).await;
        assert!(matches!(heard(&mut new).await, ToSuccessor::Release { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_an_older_version_is_believed() {
        let (mut old, mut new) = start(false);
        old.take(Estate::default()).await.unwrap();
        assert!(timeout(SILENCE * 3, old.lost_or_silent()).await.is_err());
        old.open(&[lease()]).await.unwrap();
        assert!(matches!(heard(&mut new).await, ToSuccessor::Run));
        assert!(matches!(heard(&mut new).await, ToSuccessor::Open), "nothing that it wouldn't understand");
    }
}
