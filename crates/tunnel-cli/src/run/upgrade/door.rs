//! Where upgrades are asked for: a Unix socket in the data directory, its owner's alone. Connecting is asking; what
//! becomes of it is told in lines of JSON.

use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    time::timeout,
};
use tracing::{debug, warn};

use super::words::Outcome;
use crate::run::Failure;

/// How long who asked may take to read an answer.
const READING: Duration = Duration::from_secs(1);
/// Between tries while the process has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// The door of one server. Its name in the file system goes with it.
#[derive(Debug)]
pub(in crate::run) struct Door {
    listener: UnixListener,
    path: PathBuf,
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
        Ok(listener) => Some(Door { listener, path, is_left: false }),
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
    pub(super) async fn next(&self) -> Asker {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if is_trusted(&stream) => return Asker(Some(stream)),
                Ok(_) => warn!("somebody else's process asked for an upgrade and was turned away"),
                Err(error) => {
                    debug!(%error, "cannot take a request for an upgrade");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// The same, after a successor has died: it may have taken the name along.
    pub(super) fn kept(self) -> Option<Self> {
        if self.path.exists() { Some(self) } else { listening(bind(&self.path), self.path.clone()) }
    }

    /// Leaves the name to a successor.
    pub(super) fn leave(mut self) {
        self.is_left = true;
    }
}

/// Whether the peer is the server's own user, or root.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
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
/// all.
pub(in crate::run) async fn ask(
    directory: &Path,
    mut hear: impl FnMut(Outcome) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let path = path(directory);
    let failed = |source| Failure::Upgrade { path: path.clone(), source };
    let stream = UnixStream::connect(&path).await.map_err(failed)?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await.map_err(failed)? {
        let outcome = serde_json::from_str(&line).map_err(|error| failed(error.into()))?;
        if hear(outcome)? {
            return Ok(());
        }
    }
    Err(failed(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the server went away before it said how it ended",
    )))
}
