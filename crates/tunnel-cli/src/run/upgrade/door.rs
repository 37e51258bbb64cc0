//! Where upgrades are asked for: a Unix socket in the data directory, its owner's alone. Who connects asks in a line of
//! JSON, and is told what becomes of it in others.

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::timeout,
};
use tracing::{debug, warn};

use super::words::{Outcome, Request};
use crate::run::Failure;

/// How long who has connected may take to ask.
const ASKING: Duration = Duration::from_secs(2);
/// The longest request, in bytes.
const REQUEST_MAX: u64 = 256;
/// How many may have connected and not asked yet.
const KNOCKING_MAX: usize = 16;
/// How long who asked may take to read an answer.
const READING: Duration = Duration::from_secs(1);
/// How often somebody asks who is sent away without a word.
const UNHEARD: u32 = 3;
/// Between tries while the process has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// The door of one server. Its name in the file system goes with it.
#[derive(Debug)]
pub(in crate::run) struct Door {
    listener: UnixListener,
    path: PathBuf,
    /// Those who have connected and not asked yet.
    knocking: JoinSet<Option<Asker>>,
    /// Whether the name is a successor's by now.
    is_left: bool,
}

/// Who asked for an upgrade, and may want to hear about it.
#[derive(Debug)]
pub(super) struct Asker(Option<UnixStream>);

/// The door of a server with this data directory: its predecessor's, or a new one. Without one, there is SIGUSR2.
pub(in crate::run) fn open(directory: &Path, predecessors: Option<OwnedFd>) -> Option<Door> {
    let path = path(directory);
    let opened = match predecessors {
        Some(socket) => adopt(socket.into()),
        None => bind(&path),
    };
    listening(opened, path)
}

fn listening(opened: io::Result<UnixListener>, path: PathBuf) -> Option<Door> {
    match opened {
        Ok(listener) => Some(Door { listener, path, knocking: JoinSet::new(), is_left: false }),
        Err(error) => {
            warn!(path = %path.display(), %error, "`tunnel upgrade` won't find this server; SIGUSR2 does the same");
            None
        }
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("upgrade.sock")
}

fn adopt(socket: std::os::unix::net::UnixListener) -> io::Result<UnixListener> {
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket)
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server answers there"));
    }
    // Left behind by a server that was killed.
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    // Until here only the directory kept others out.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Door {
    /// The next who asks.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Asker {
        loop {
            tokio::select! {
                Some(heard) = self.knocking.join_next() => if let Ok(Some(asker)) = heard {
                    return asker;
                },
                accepted = self.listener.accept(), if self.knocking.len() < KNOCKING_MAX => match accepted {
                    Ok((stream, _)) if is_trusted(&stream) => _ = self.knocking.spawn(hear(stream)),
                    Ok(_) => warn!("somebody else's process asked for an upgrade and was turned away"),
                    Err(error) => {
                        debug!(%error, "cannot take a request for an upgrade");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
    }

    /// Another handle to its socket, for a successor.
    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// The same, after a successor has died: it may have taken the name along.
    pub(super) fn kept(mut self) -> Option<Self> {
        if self.path.exists() {
            return Some(self);
        }
        // Or the name would go with this one, which is about to be another one's.
        self.is_left = true;
        listening(bind(&self.path), self.path.clone())
    }

    /// Leaves the name to a successor.
    pub(super) fn leave(mut self) {
        self.is_left = true;
    }
}

/// Waits until somebody has asked; `None` for one who doesn't.
async fn hear(mut stream: UnixStream) -> Option<Asker> {
    let mut line = Vec::new();
    let mut reader = BufReader::new((&mut stream).take(REQUEST_MAX));
    let read = timeout(ASKING, reader.read_until(b'\n', &mut line)).await;
    if line.ends_with(b"\n") && serde_json::from_slice(&line).is_ok_and(|Request::Upgrade| true) {
        return Some(Asker(Some(stream)));
    }
    // Whoever has gone again only looked whether a server is here.
    if !matches!(read, Ok(Ok(0) | Err(_))) {
        let reason =
            "what was asked isn't understood: ask by the `tunnel upgrade` of the same version".to_owned();
        Asker(Some(stream)).tell(&Outcome::Failed { reason }).await;
    }
    None
}

/// Whether the peer is the server's own user, or root.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

impl Drop for Door {
    fn drop(&mut self) {
        if !self.is_left {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Asker {
    /// Somebody who sent a signal.
    pub(super) fn nobody() -> Self {
        Self(None)
    }

    /// Tells what became of it. Nobody waits for those who don't listen.
    pub(super) async fn tell(&mut self, outcome: &Outcome) {
        let Some(stream) = &mut self.0 else { return };
        let Ok(mut line) = serde_json::to_vec(outcome) else { return };
        line.push(b'\n');
        if !matches!(timeout(READING, stream.write_all(&line)).await, Ok(Ok(()))) {
            self.0 = None;
        }
    }
}

/// Asks the server with this data directory for an upgrade; `hear` hears what becomes of it, and says whether that is
/// all. A process that is replaced just then goes away without a word, and its successor is asked.
pub(in crate::run) async fn ask(
    directory: &Path,
    mut hear: impl FnMut(Outcome) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let path = path(directory);
    for _ in 0..UNHEARD {
        if ask_once(&path, &mut hear).await? {
            return Ok(());
        }
    }
    Err(Failure::Upgrade { path, source: went_away() })
}

fn went_away() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the server went away before it said how it ended")
}

/// Whether it was heard.
async fn ask_once(
    path: &Path,
    hear: &mut impl FnMut(Outcome) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let failed = |source| Failure::Upgrade { path: path.to_owned(), source };
    let mut stream = UnixStream::connect(path).await.map_err(failed)?;
    let mut request = serde_json::to_vec(&Request::Upgrade).map_err(|error| failed(error.into()))?;
    request.push(b'\n');
    // One that has gone away is found at the answer.
    let _ = stream.write_all(&request).await;
    let mut lines = BufReader::new(stream).lines();
    let mut is_heard = false;
    loop {
        let line = match lines.next_line().await {
            Ok(Some(line)) => line,
            Ok(None) | Err(_) if !is_heard => return Ok(false),
            Ok(None) => return Err(failed(went_away())),
            Err(error) => return Err(failed(error)),
        };
        is_heard = true;
        let outcome = serde_json::from_str(&line).map_err(|error| failed(error.into()))?;
        if hear(outcome)? {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> (tempfile::TempDir, Door) {
        let home = tempfile::tempdir().unwrap();
        let door = open(home.path(), None).unwrap();
        (home, door)
    }

    #[tokio::test]
    async fn only_who_asks_is_heard() {
        let (home, mut door) = door();
        let path = path(home.path());
        // One who looks in, one who says nothing yet, one who talks nonsense.
        drop(UnixStream::connect(&path).await.unwrap());
        let _silent = UnixStream::connect(&path).await.unwrap();
        let mut strange = UnixStream::connect(&path).await.unwrap();
        strange.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let hearing = async {
            let mut asker = door.next().await;
            asker.tell(&Outcome::Moved { clients: 1, late: 0 }).await;
        };
        let asking = ask(home.path(), |outcome| {
            assert_eq!(outcome, Outcome::Moved { clients: 1, late: 0 });
            Ok(true)
        });
        let ((), asked) = tokio::join!(hearing, asking);
        asked.unwrap();
        let answer = async {
            let mut answer = String::new();
            BufReader::new(strange).read_line(&mut answer).await.unwrap();
            answer
        };
        let nonsense = tokio::select! {
            _ = door.next() => panic!("nobody else asked"),
            answer = answer => answer,
        };
        assert!(nonsense.contains("isn't understood"), "{nonsense}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_told_so_and_not_served() {
        let (home, mut door) = door();
        let silent = UnixStream::connect(path(home.path())).await.unwrap();
        let mut lines = BufReader::new(silent).lines();
        let told = tokio::select! {
            _ = door.next() => panic!("nobody asked"),
            told = lines.next_line() => told.unwrap().unwrap(),
        };
        assert!(told.contains("isn't understood"), "{told}");
    }

    #[tokio::test]
    async fn a_name_that_a_successor_took_along_is_taken_again() {
        let (home, mut door) = door();
        for is_taken_along in [false, true] {
            if is_taken_along {
                fs::remove_file(path(home.path())).unwrap();
            }
            door = door.kept().unwrap();
            let asking = ask(home.path(), |_| Ok(true));
            let hearing = async {
                let mut asker = door.next().await;
                asker.tell(&Outcome::Moved { clients: 0, late: 0 }).await;
            };
            tokio::join!(asking, hearing).0.unwrap();
        }
        drop(door);
        assert!(!path(home.path()).exists());
    }

    #[tokio::test]
    async fn who_asks_a_process_that_is_being_replaced_asks_its_successor() {
        let (home, old) = door();
        let socket = old.share().unwrap();
        let asking = ask(home.path(), |outcome| Ok(matches!(outcome, Outcome::Moved { .. })));
        let replacing = async {
            let (knocking, _) = old.listener.accept().await.unwrap();
            old.leave();
            let mut new = open(home.path(), Some(socket)).unwrap();
            drop(knocking);
            new.next().await.tell(&Outcome::Moved { clients: 0, late: 0 }).await;
        };
        tokio::join!(asking, replacing).0.unwrap();
    }

    #[tokio::test]
    async fn who_was_told_something_does_not_ask_again() {
        let (home, mut door) = door();
        let hearing = async {
            let ready = Outcome::Ready { pid: 1, version: String::new() };
            door.next().await.tell(&ready).await;
            door
        };
        let (asked, _door) = tokio::join!(ask(home.path(), |_| Ok(false)), hearing);
        assert!(asked.unwrap_err().line().contains("the server went away before it said how it ended"));
    }

    #[tokio::test]
    async fn a_second_server_finds_no_place() {
        let (home, _door) = door();
        assert!(open(home.path(), None).is_none());
    }
}
