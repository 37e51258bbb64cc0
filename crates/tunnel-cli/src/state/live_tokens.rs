//! The token file as the running server sees it: in memory, and up to date without a restart.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{info, warn};
use tunnel_server::{Authenticator, Identity, Login, Rights, StoredToken, check, token_id};

use super::{files::FileError, stamp::Stamp, tokens::TokenFile};

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

    fn rights(&self, identity: &Identity) -> Option<Arc<Rights>> {
        let memory = self.fresh(MAX_AGE);
        memory.tokens.iter().find(|token| token.id == identity.token)?.rights_of(identity)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::SystemTime};

    use tunnel_protocol::{InstanceId, Token, login::Credential};

    use super::*;
    use crate::state::tokens::Names;

    fn logs_in(live: &LiveTokens, token: &Token) -> Option<Identity> {
        let credential = Credential::Token { id: token.id(), secret: token.secret().clone() };
        live.authenticate(Login { credential: &credential, nonce: None, instance: &InstanceId([0; 16]) })
    }

    #[test]
    fn tokens_come_and_go_while_the_server_runs() {
        let home = tempfile::tempdir().unwrap();
        let file = TokenFile::new(home.path());
        let live = LiveTokens::open(file.clone()).unwrap();
        let token = file.create("laptop", &Names::default(), None, SystemTime::now()).unwrap();
        let identity = logs_in(&live, &token).expect("a new token works at once");
        assert_eq!(&*identity.name, "laptop");
        let other = file.create("ci", &Names::default(), None, SystemTime::now()).unwrap();
        file.revoke("laptop").unwrap();
        assert!(logs_in(&live, &token).is_none(), "a revoked one doesn't");
        assert!(live.rights(&identity).is_none());
        assert!(logs_in(&live, &other).is_some());
    }

    #[test]
    fn a_damaged_file_changes_nothing_and_a_removed_one_ends_all() {
        let home = tempfile::tempdir().unwrap();
        let file = TokenFile::new(home.path());
        let token = file.create("laptop", &Names::default(), None, SystemTime::now()).unwrap();
        let live = LiveTokens::open(file.clone()).unwrap();
        fs::write(file.path(), "{").unwrap();
        assert!(logs_in(&live, &token).is_some());
        fs::remove_file(file.path()).unwrap();
        assert!(logs_in(&live, &token).is_none());
    }
}
