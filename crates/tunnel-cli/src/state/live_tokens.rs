//! The token file as the running server sees it: in memory, and up to date without a restart.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tracing::{info, warn};
use tunnel_server::{Authenticator, Identity, Login, StoredToken, check, token_id};

use super::{files::FileError, tokens::TokenFile};

/// How old the memory may be when sessions are asked about; logins always look.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Lets in whoever shows a token of the file.
///
/// Every login looks whether the file is still the one that was read (one `stat`, a microsecond), so that a token
/// works as soon as it is printed; what was read stays in force while the file can't be.
#[derive(Debug)]
pub(crate) struct LiveTokens {
    file: TokenFile,
    path: PathBuf,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    tokens: Vec<StoredToken>,
    stamp: Option<Stamp>,
    looked: Instant,
}

/// What changes whenever the file is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl LiveTokens {
    /// Reads the file for the first time.
    pub(crate) fn open(file: TokenFile) -> Result<Self, FileError> {
        let path = file.path();
        let stamp = Stamp::of(&path);
        let memory = Memory { tokens: file.stored()?, stamp, looked: Instant::now() };
        Ok(Self { file, path, memory: Mutex::new(memory) })
    }

    fn fresh(&self, max_age: Duration) -> MutexGuard<'_, Memory> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.looked.elapsed() < max_age {
            return memory;
        }
        memory.looked = Instant::now();
        // Taken before reading: a change in between is seen next time.
        let stamp = Stamp::of(&self.path);
        if stamp == memory.stamp {
            return memory;
        }
        memory.stamp = stamp;
        match self.file.stored() {
            Ok(tokens) => {
                info!(tokens = tokens.len(), "tokens read again");
                memory.tokens = tokens;
            }
            Err(error) => warn!(
                error = &error as &dyn std::error::Error,
                "the tokens can't be read; the ones read before stay in force"
            ),
        }
        memory
    }
}

impl Authenticator for LiveTokens {
    fn authenticate(&self, login: Login<'_>) -> Option<Identity> {
        let id = token_id(login.credential);
        let memory = self.fresh(Duration::ZERO);
        check(memory.tokens.iter().find(|token| Some(token.id) == id), login)
    }

    fn is_valid(&self, identity: &Identity) -> bool {
        self.fresh(MAX_AGE).tokens.iter().any(|token| token.id == identity.token)
    }
}

impl Stamp {
    /// `None` if there is no file.
    fn of(path: &std::path::Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some(Self { modified: metadata.modified().ok(), length: metadata.len(), inode })
    }
}

#[cfg(test)]
mod tests {
    use tunnel_protocol::{InstanceId, Token, login::Credential};

    use super::*;

    fn logs_in(live: &LiveTokens, token: &Token) -> Option<Identity> {
        let credential = Credential::Token { id: token.id(), secret: token.secret().clone() };
        live.authenticate(Login { credential: &credential, nonce: None, instance: &InstanceId([0; 16]) })
    }

    #[test]
    fn tokens_come_and_go_while_the_server_runs() {
        let home = tempfile::tempdir().unwrap();
        let file = TokenFile::new(home.path());
        let live = LiveTokens::open(file.clone()).unwrap();
        let token = file.create("laptop", None, SystemTime::now()).unwrap();
        let identity = logs_in(&live, &token).expect("a new token works at once");
        assert_eq!(&*identity.name, "laptop");
        let other = file.create("ci", None, SystemTime::now()).unwrap();
        file.revoke("laptop").unwrap();
        assert!(logs_in(&live, &token).is_none(), "a revoked one doesn't");
        assert!(!live.is_valid(&identity));
        assert!(logs_in(&live, &other).is_some());
    }

    #[test]
    fn a_damaged_file_changes_nothing_and_a_removed_one_ends_all() {
        let home = tempfile::tempdir().unwrap();
        let file = TokenFile::new(home.path());
        let token = file.create("laptop", None, SystemTime::now()).unwrap();
        let live = LiveTokens::open(file.clone()).unwrap();
        fs::write(file.path(), "{").unwrap();
        assert!(logs_in(&live, &token).is_some());
        fs::remove_file(file.path()).unwrap();
        assert!(logs_in(&live, &token).is_none());
    }
}
