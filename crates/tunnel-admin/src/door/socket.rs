//! The admin socket: for the operator's own commands, without a password.
//!
//! Whoever may open it may do everything, so it is its owner's alone from before it can be connected to, and each
//! peer's user is asked of the kernel as well. Its name belongs to the server that runs: one that was left behind is
//! replaced, one that answers is not, unless its server is about to hand over.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{Extension, Router};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
};
use tracing::{debug, warn};

use super::connection;
use crate::tokens::Actor;

/// Connections at a time; each may hold a head and a body of 64 KiB.
const MOST: usize = 256;
/// Connections that wait to be taken.
const BACKLOG: i32 = 64;
/// The longest path that fits into a socket's address on every Unix, in bytes.
const LONGEST_PATH: usize = 103;

/// Whether a socket that answers may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// No: another server runs, and its commands are to reach it.
    No,
    /// Yes: this server takes the other's place.
    Yes,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// A server answers there.
    #[error("another server answers at {}; it keeps its commands", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The path doesn't fit into a socket's address.
    #[error("the path {} is too long for a socket, which takes {LONGEST_PATH} bytes", path.display())]
    TooLong {
        /// The socket.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot listen on {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A listening admin socket. Dropping it removes its name, if that is still its own.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    name: Name,
}

/// The name of a socket in the file system, as a guard.
#[derive(Debug)]
struct Name {
    path: PathBuf,
    /// Device and inode: what says that it is ours.
    identity: (u64, u64),
}

impl AdminSocket {
    /// Listens on `path`, in a directory that exists and whose owner is trusted.
    ///
    /// # Errors
    /// [`SocketError`]; a socket that was there before is untouched then.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn bind(path: &Path, takeover: Takeover) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Listen { path: path.to_owned(), source };
        // The name below and `.new` must fit.
        if path.as_os_str().len() + NEW.len() > LONGEST_PATH {
            return Err(SocketError::TooLong { path: path.to_owned() });
        }
        // Two servers that start at once look and replace one after the other.
        let lock = open_private(&with_suffix(path, ".lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        if takeover == Takeover::No && answers(path) {
            return Err(SocketError::InUse { path: path.to_owned() });
        }
        let new = with_suffix(path, NEW);
        // Left behind by a server that was killed just here.
        let _ = fs::remove_file(&new);
        let listener = private_listener(&new).map_err(failed)?;
        let identity = identity(&new).map_err(failed)?;
        fs::rename(&new, path).map_err(failed)?;
        Ok(Self { listener, name: Name { path: path.to_owned(), identity } })
    }

    /// Answers until dropped.
    pub(crate) async fn serve(self, routes: Router) {
        let Self { listener, name: _name } = self;
        let places = Arc::new(Semaphore::new(MOST));
        let mut connections = JoinSet::new();
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let stream = accept(&listener).await;
            while connections.try_join_next().is_some() {}
            let Some(uid) = trusted(&stream) else {
                warn!("somebody else's process opened the admin socket and was turned away");
                continue;
            };
            let routes = routes.clone().layer(Extension(Actor::Socket { uid }));
            connections.spawn(async move {
                connection::serve(stream, routes).await;
                drop(place);
            });
        }
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Only its owner can connect, from before anybody can: the mode is set before it listens.
fn private_listener(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(std::os::unix::net::UnixListener::from(std::os::fd::OwnedFd::from(socket)))
}

fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

async fn accept(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                debug!(%error, "cannot take a connection of the admin socket");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The peer's user, if it is the server's own or root.
fn trusted(stream: &UnixStream) -> Option<u32> {
    let uid = stream.peer_cred().ok()?.uid();
    (uid == 0 || uid == rustix::process::geteuid().as_raw()).then_some(uid)
}

fn answers(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What a socket is called until it listens.
const NEW: &str = ".new";
/// Between tries while the process has no descriptors left.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("admin.sock");
        (home, path)
    }

    #[tokio::test]
    async fn it_is_the_owners_alone_and_goes_with_its_server() {
        let (_home, path) = path();
        let socket = AdminSocket::bind(&path, Takeover::No).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_live_one_is_kept_and_a_dead_one_replaced() {
        let (_home, path) = path();
        let live = AdminSocket::bind(&path, Takeover::No).unwrap();
        assert!(matches!(AdminSocket::bind(&path, Takeover::No), Err(SocketError::InUse { .. })));
        // As after `kill -9`: the name stays and nobody listens.
        std::mem::forget(live.name);
        drop(live.listener);
        assert!(path.exists());
        AdminSocket::bind(&path, Takeover::No).unwrap();
    }

    #[tokio::test]
    async fn a_successor_takes_the_name_and_its_predecessor_leaves_it() {
        let (_home, path) = path();
        let old = AdminSocket::bind(&path, Takeover::No).unwrap();
        let new = AdminSocket::bind(&path, Takeover::Yes).unwrap();
        drop(old);
        assert!(answers(&path));
        drop(new);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_said_so() {
        let (home, _) = path();
        let long = home.path().join("x".repeat(120));
        assert!(matches!(AdminSocket::bind(&long, Takeover::No), Err(SocketError::TooLong { .. })));
    }
}
