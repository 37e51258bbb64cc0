//! The server's tokens (`tokens.json`): who they are for and the hashes of their secrets, never the secrets.
//!
//! The file is changed by whoever makes or revokes a token, also while the server runs: it notices by itself (see
//! `live_tokens`).

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use tunnel_protocol::{Token, TokenHash, TokenId};
use tunnel_server::StoredToken;
use tunnel_transport::Pin;

use super::files::{self, FileError};

/// Why a token can't be made, listed or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is one of that name.
    #[error("there is a token called `{0}` already; choose another name, or run: tunnel token revoke {0}")]
    Exists(String),
    /// There is none of that name.
    #[error("no token is called `{name}`; there {}", existing(known))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// Not a name.
    #[error("a token's name has 1 to 64 letters, digits and `.`, `_`, `-`, `@`, and doesn't begin with `-`")]
    Name,
    /// The operating system gave no random numbers.
    #[error("the operating system gave no random numbers")]
    Random(#[source] std::io::Error),
}

/// The token file of a data directory.
#[derive(Clone, Debug)]
pub(crate) struct TokenFile {
    directory: PathBuf,
}

/// One token, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The public part.
    pub(crate) id: TokenId,
    /// What the operator calls it.
    pub(crate) name: String,
    hash: String,
    /// When it was made (RFC 3339).
    pub(crate) created: String,
}

impl TokenFile {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join("tokens.json")
    }

    /// All tokens, in the order they were made.
    pub(crate) fn list(&self) -> Result<Vec<Record>, FileError> {
        let content: Option<Content> = files::read_json(&self.path())?;
        let Some(content) = content else { return Ok(Vec::new()) };
        if content.version != VERSION {
            let reason =
                format!("is of version {}, which this program doesn't know; upgrade it", content.version);
            return Err(FileError::content(&self.path(), reason));
        }
        Ok(content.tokens)
    }

    /// The same, as the server needs them.
    pub(crate) fn stored(&self) -> Result<Vec<StoredToken>, FileError> {
        let stored = |record: Record| {
            let hash: TokenHash = record.hash.parse().map_err(|_| {
                FileError::content(&self.path(), format!("`{}` has a damaged hash", record.name))
            })?;
            Ok(StoredToken { id: record.id, name: record.name.into(), hash })
        };
        self.list()?.into_iter().map(stored).collect()
    }

    /// Makes a token. It exists in full only in what this returns.
    pub(crate) fn create(&self, name: &str, pin: Option<Pin>, now: SystemTime) -> Result<Token, TokenError> {
        check_name(name)?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| TokenError::Random(error.into()))?;
        let token = Token::new(random, pin.map(|pin| *pin.as_bytes()));
        let _lock = files::lock(&self.directory)?;
        let mut tokens = self.list()?;
        if tokens.iter().any(|record| record.name == name) {
            return Err(TokenError::Exists(name.into()));
        }
        tokens.push(Record {
            id: token.id(),
            name: name.into(),
            hash: token.hash().into(),
            created: humantime::format_rfc3339_seconds(now).to_string(),
        });
        self.save(tokens)?;
        Ok(token)
    }

    /// Ends a token.
    pub(crate) fn revoke(&self, name: &str) -> Result<(), TokenError> {
        let _lock = files::lock(&self.directory)?;
        let mut tokens = self.list()?;
        let Some(at) = tokens.iter().position(|record| record.name == name) else {
            let known = tokens.into_iter().map(|record| record.name).collect();
            return Err(TokenError::Unknown { name: name.chars().take(100).collect(), known });
        };
        tokens.remove(at);
        Ok(self.save(tokens)?)
    }

    fn save(&self, tokens: Vec<Record>) -> Result<(), FileError> {
        files::write_json(&self.path(), &Content { version: VERSION, tokens })
    }
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    tokens: Vec<Record>,
}

/// The file's layout. Another number is of a newer program, whose tokens must not be thrown away.
const VERSION: u32 = 1;

fn check_name(name: &str) -> Result<(), TokenError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    let fits = (1..=64).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(plain);
    if fits { Ok(()) } else { Err(TokenError::Name) }
}

fn existing(known: &[String]) -> String {
    if known.is_empty() { "are none".into() } else { format!("are: {}", known.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_from_its_making_to_its_end() {
        let home = tempfile::tempdir().unwrap();
        let file = TokenFile::new(home.path());
        assert_eq!(file.list().unwrap(), []);
        let pin = Pin::from_bytes([7; 32]);
        let token = file.create("laptop", Some(pin), SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(token.pin(), Some([7; 32]));
        let other = file.create("ci", None, SystemTime::UNIX_EPOCH).unwrap();
        assert_ne!(token.secret(), other.secret());

        let listed = file.list().unwrap();
        assert_eq!(listed[0].id, token.id());
        assert_eq!((listed[0].name.as_str(), listed[0].created.as_str()), ("laptop", "1970-01-01T00:00:00Z"));
        let stored = file.stored().unwrap();
        assert!(stored[0].hash.matches(token.secret()) && !stored[0].hash.matches(other.secret()));

        assert!(matches!(file.create("ci", None, SystemTime::UNIX_EPOCH), Err(TokenError::Exists(_))));
        file.revoke("laptop").unwrap();
        assert_eq!(file.list().unwrap().len(), 1);
        let error = file.revoke("laptop").unwrap_err().to_string();
        assert!(error.ends_with("there are: ci"), "{error}");
    }

    #[test]
    fn the_secret_is_not_in_the_file() {
        let home = tempfile::tempdir().unwrap();
        let file = TokenFile::new(home.path());
        let token = file.create("laptop", None, SystemTime::now()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(text.contains(&token.id().to_string()));
        let secret = &token.expose()[20..40];
        assert!(!text.contains(secret));
        let hex = serde_json::to_string(token.secret()).unwrap();
        assert!(!text.contains(hex.trim_matches('"')));
    }

    #[test]
    fn names() {
        let home = tempfile::tempdir().unwrap();
        let file = TokenFile::new(home.path());
        for name in ["", "-x", "a b", "a/b", "ü", "a\nb", &"x".repeat(65)] {
            assert!(matches!(file.create(name, None, SystemTime::now()), Err(TokenError::Name)), "{name}");
        }
        file.create(&"x".repeat(64), None, SystemTime::now()).unwrap();
        file.create("me@home_1.x-y", None, SystemTime::now()).unwrap();
    }

    #[test]
    fn a_newer_or_damaged_file_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let file = TokenFile::new(home.path());
        for text in ["{\"version\":2,\"tokens\":[]}", "{", ""] {
            std::fs::write(file.path(), text).unwrap();
            assert!(file.create("x", None, SystemTime::now()).is_err(), "{text}");
            assert_eq!(std::fs::read_to_string(file.path()).unwrap(), text);
        }
    }
}
