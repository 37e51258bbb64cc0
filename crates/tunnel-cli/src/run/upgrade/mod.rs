//! A new process in the old one's place, without a visitor noticing: `tunnel upgrade`, or SIGUSR2.
//!
//! ```text
//!   old                                       new (its standard input is the other end)
//!   starts the program that is there now ──►  reads its configuration, opens what it needs
//!   Begin, the listening sockets ──────────►
//!                   ◄──────────────── Ready   or Failed, or its end: then the old one goes on as if nothing had been
//!   no more clients; leases, ports, Run ───►  takes clients
//!                   ◄───────── Beat, Beat, …  or nothing for long: then the old one disowns it
//!   sends its clients there
//!   names that were given up meanwhile ────►  lets go of them
//!   Open, when they are there ─────────────►  takes visitors
//!                   ◄─────────────── Opened
//!   drains, and ends                          writes the leases from now on
//! ```
//! Until it hears Opened the old one has let go of nothing, and takes back what it handed over if the new one dies or
//! falls silent. One that fell silent is killed, and told so in case it lives: an end of the channel without that word
//! is the end of the old process, whose place the new one takes.
//! What happens to clients and visitors meanwhile is `tunnel-server`'s part.

mod channel;
mod command;
mod door;
mod predecessor;
mod successor;
mod words;

use std::{future::Future, net::TcpListener, os::fd::AsFd, path::Path, pin::pin, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::timeout,
};
use tracing::{info, warn};
use tunnel_server::ServerHandle;

pub(super) use self::{command::run as command, predecessor::Predecessor};
use self::{
    door::{Asker, Door},
    successor::{Successor, Unready},
    words::Outcome,
};
use super::{Failure, lease_keeping::LeaseKeeping, notify::Notifier, sockets::Role};
use crate::{output::Console, program::Program, state::ownership::Ownership};

/// How long clients may take to move, at most: those who are late are cut off at the end of the grace.
const MOVING: Duration = Duration::from_secs(15);
/// How long the disk may take for the leases that this process writes last.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// Listens for requests, by SIGUSR2 and at a door in the data directory, from now on. The future lets visitors in when
/// the predecessor says so, if there is one; then it lets a new process take over when asked to, and is ready when one
/// has. It fails if the predecessor has taken everything back.
pub(super) fn listen(
    data: &Path,
    mut predecessor: Option<Predecessor>,
    parts: Parts,
) -> Result<impl Future<Output = Result<(), Failure>> + use<>, Failure> {
    let signal = signal(SignalKind::user_defined2()).map_err(Failure::Signals)?;
    let door = door::open(data, predecessor.as_mut().and_then(Predecessor::door));
    let mut upgrades = Upgrades { signal, door, parts };
    Ok(async move {
        let ended = upgrades.run_after(predecessor).await;
        if ended.is_err()
            && let Some(door) = upgrades.door.take()
        {
            // The predecessor's again.
            door.leave();
        }
        ended
    })
}

/// A server that can be replaced.
#[derive(Debug)]
struct Upgrades {
    signal: tokio::signal::unix::Signal,
    door: Option<Door>,
    parts: Parts,
}

/// What is handed over, and by whom.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) program: Program,
    pub(super) handle: ServerHandle,
    pub(super) sockets: Vec<(Role, TcpListener)>,
    /// What makes the data directory this server's, and isn't this process's any more once a successor serves.
    pub(super) ownership: Option<Ownership>,
    /// Who keeps the leases' file.
    pub(super) leases: LeaseKeeping,
    /// Told when what was handed over is this process's again.
    pub(super) taken_back: watch::Sender<()>,
    pub(super) notifier: Arc<Notifier>,
    pub(super) console: Console,
}

impl Upgrades {
    /// Takes the predecessor's place when it says so, and then lets a new process take over.
    async fn run_after(&mut self, predecessor: Option<Predecessor>) -> Result<(), Failure> {
        let Some(mut predecessor) = predecessor else {
            self.run().await;
            return Ok(());
        };
        let Parts { handle, notifier, .. } = &self.parts;
        let let_go = |lease| handle.let_go(&[lease]);
        predecessor.opened(|| _ = handle.totals(), let_go).await?;
        handle.open();
        let (handle, notifier) = (handle.clone(), notifier.clone());
        let disowned = async {
            if let Err(failure) = predecessor.left(|lease| handle.let_go(&[lease])).await {
                return failure;
            }
            // Not before: a service manager listens to one process only.
            notifier.take_over();
            std::future::pending().await
        };
        tokio::select! {
            () = self.run() => Ok(()),
            failure = disowned => Err(failure),
        }
    }

    /// Lets a new process take over when asked to, and returns when one has.
    async fn run(&mut self) {
        loop {
            let mut asker = next(&mut self.signal, self.door.as_mut()).await;
            match self.attempt(&mut asker).await {
                Ok((clients, late)) => {
                    // Whoever asks from now on asks the new one.
                    if let Some(door) = self.door.take() {
                        door.leave();
                    }
                    return asker.tell(&Outcome::Moved { clients, late }).await;
                }
                Err(unready) => {
                    let reason = crate::output::chain(&unready);
                    self.parts.console.warning(&format!("no upgrade, this process goes on: {reason}"));
                    self.door = self.door.take().and_then(Door::kept);
                    asker.tell(&Outcome::Failed { reason }).await;
                }
            }
        }
    }

    /// Has a successor take over; whoever asks for another one meanwhile is told that there is one.
    async fn attempt(&mut self, asker: &mut Asker) -> Result<(usize, usize), Unready> {
        let Self { signal, door, parts } = self;
        let shared = door.as_ref().map(Door::share).transpose()?;
        let mut attempt = pin!(async {
            let door = shared.as_ref().map(AsFd::as_fd);
            let ownership = parts.ownership.as_ref();
            let successor = Successor::start(&parts.program, &parts.sockets, door, ownership).await?;
            hand_over(parts, successor, asker).await
        });
        loop {
            tokio::select! {
                over = &mut attempt => return over,
                mut other = next(signal, door.as_mut()) => {
                    let reason = "an upgrade is under way already; wait for its end".to_owned();
                    warn!(%reason, "no second upgrade");
                    other.tell(&Outcome::Failed { reason }).await;
                }
            }
        }
    }
}

async fn next(signal: &mut tokio::signal::unix::Signal, door: Option<&mut Door>) -> Asker {
    let knocked = async {
        match door {
            Some(door) => door.next().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = signal.recv() => Asker::nobody(),
        asker = knocked => asker,
    }
}

/// Hands over to a successor that is ready; how many clients went there, and how many are late. If it dies or
/// hangs before it takes visitors, all is taken back.
async fn hand_over(
    parts: &Parts,
    mut successor: Successor,
    asker: &mut Asker,
) -> Result<(usize, usize), Unready> {
    let handle = &parts.handle;
    info!(pid = successor.pid, "the new process is ready");
    // Those who wait for a client would wait in vain here once it has come back to the successor.
    let waiting = timeout(handle.config().timeouts.hold, handle.nobody_waits());
    tokio::select! {
        biased;
        unready = successor.lost() => return Err(unready),
        _ = waiting => {}
    }
    let moved = move_to(parts, &mut successor, asker).await;
    if moved.is_err() {
        take_back(parts);
    }
    moved
}

async fn move_to(
    parts: &Parts,
    successor: &mut Successor,
    asker: &mut Asker,
) -> Result<(usize, usize), Unready> {
    let Parts { handle, console, .. } = parts;
    let (pid, version) = (successor.pid, successor.version.clone());
    // The file is the successor's from now on.
    parts.leases.let_go();
    let estate = handle.hand_over();
    let leases = estate.leases.clone();
    let mut untaken = Untaken(Some(handle));
    if !parts.leases.written(LAST_WRITE).await {
        // They might come to the disk after the successor's, and would be what the next start finds.
        successor.dismiss().await;
        return Err(Unready::Unwritten(LAST_WRITE));
    }
    successor.take(estate).await?;
    untaken.0 = None;
    console.remark(&format!("upgrade: process {pid} (tunnel {version}) takes over"));
    asker.tell(&Outcome::Ready { pid, version }).await;
    let (clients, late) = tokio::select! {
        biased;
        unready = successor.lost_or_silent() => return Err(unready),
        moved = handle.clients_moved(MOVING) => moved,
    };
    info!(clients, late, "clients have moved");
    let given_up = handle.given_up(&leases);
    successor.open(&given_up).await?;
    // Not before: a service manager ends the service with its main process, and listens to that one only.
    parts.notifier.hand_over_to(pid);
    let mut given_up_since = handle.given_up(&leases);
    given_up_since.retain(|lease| !given_up.contains(lease));
    successor.let_go(&given_up_since).await;
    Ok((clients, late))
}

/// What was handed over, until a successor has taken it. If this process is told to stop before, there is none: the
/// clients are told by this one then.
struct Untaken<'a>(Option<&'a ServerHandle>);

impl Drop for Untaken<'_> {
    fn drop(&mut self) {
        if let Some(handle) = self.0 {
            handle.take_back();
        }
    }
}

/// Goes on as if there had been no successor, which has ended. Visitors were served here all the time.
fn take_back(parts: &Parts) {
    if parts.handle.is_draining() {
        return;
    }
    parts.handle.take_back();
    parts.leases.take_back();
    parts.taken_back.send_replace(());
}
