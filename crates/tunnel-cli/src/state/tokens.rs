//! The server's tokens (`tokens.json`): who they are for and the hashes of their secrets, never the secrets.
//!
//! The file is changed by whoever makes or revokes a token, also while the server runs: it notices by itself (see
//! `live_tokens`).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use tunnel_protocol::{Token, TokenHash, TokenId};
use tunnel_server::{HostPattern, LabelPattern, Rights, StoredToken};
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
    /// It has no such right.
    #[error("the token `{token}` has no right to `{name}`; its rights are shown by: tunnel token list")]
    NoRight {
        /// The token's name.
        token: String,
        /// What was to be taken.
        name: String,
    },
    /// Without it, it would have more rights than with it.
    #[error(
        "`{0}` has no other right to subdomains, and a token without any may have them all; give it another one as well \
         (--subdomain NAME, or '*' for all), or run: tunnel token revoke {0}"
    )]
    LastRight(String),
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
    /// Subdomains it may have, as [`Rights::subdomains`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) subdomains: Vec<String>,
    /// Domains it may have, as [`Rights::domains`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) domains: Vec<String>,
}

/// Rights to give or to take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) subdomains: Vec<LabelPattern>,
    pub(crate) domains: Vec<HostPattern>,
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
            let rights = Arc::new(record.rights().map_err(|reason| {
                FileError::content(&self.path(), format!("`{}` has a damaged right: {reason}", record.name))
            })?);
            Ok(StoredToken::new(record.id, record.name, hash, rights))
        };
        self.list()?.into_iter().map(stored).collect()
    }

    /// Makes a token. It exists in full only in what this returns.
    pub(crate) fn create(
        &self,
        name: &str,
        rights: &Names,
        pin: Option<Pin>,
        now: SystemTime,
    ) -> Result<Token, TokenError> {
        check_name(name)?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| TokenError::Random(error.into()))?;
        let token = Token::new(random, pin.map(|pin| *pin.as_bytes()));
        let _lock = files::lock(&self.directory)?;
        let mut tokens = self.list()?;
        if tokens.iter().any(|record| record.name == name) {
            return Err(TokenError::Exists(name.into()));
        }
        let mut record = Record {
            id: token.id(),
            name: name.into(),
            hash: token.hash().into(),
            created: humantime::format_rfc3339_seconds(now).to_string(),
            subdomains: Vec::new(),
            domains: Vec::new(),
        };
        record.give(rights);
        tokens.push(record);
        self.save(tokens)?;
        Ok(token)
    }

    /// Gives a token rights and takes others from it; returns it as it is then.
    pub(crate) fn edit(&self, name: &str, give: &Names, take: &Names) -> Result<Record, TokenError> {
        let _lock = files::lock(&self.directory)?;
        let mut tokens = self.list()?;
        let at = find(&tokens, name)?;
        let record = &mut tokens[at];
        let was_restricted = record.is_restricted();
        record.take(take)?;
        record.give(give);
        if was_restricted && !record.is_restricted() {
            return Err(TokenError::LastRight(name.into()));
        }
        let edited = record.clone();
        self.save(tokens)?;
        Ok(edited)
    }

    /// Ends a token.
    pub(crate) fn revoke(&self, name: &str) -> Result<(), TokenError> {
        let _lock = files::lock(&self.directory)?;
        let mut tokens = self.list()?;
        let at = find(&tokens, name)?;
        tokens.remove(at);
        Ok(self.save(tokens)?)
    }

    fn save(&self, tokens: Vec<Record>) -> Result<(), FileError> {
        files::write_json(&self.path(), &Content { version: VERSION, tokens })
    }
}

impl Record {
    fn rights(&self) -> Result<Rights, String> {
        let reason = |text: &str, error: &dyn std::error::Error| format!("`{text}`: {error}");
        let subdomains =
            self.subdomains.iter().map(|text| text.parse().map_err(|error| reason(text, &error)));
        let domains = self.domains.iter().map(|text| text.parse().map_err(|error| reason(text, &error)));
        Ok(Rights {
            subdomains: subdomains.collect::<Result<_, String>>()?,
            domains: domains.collect::<Result<_, String>>()?,
            ..Rights::default()
        })
    }

    /// A record that can't be read gives no rights to be widened.
    fn is_restricted(&self) -> bool {
        self.rights().is_ok_and(|rights| rights.is_restricted())
    }

    fn give(&mut self, names: &Names) {
        let add = |list: &mut Vec<String>, name: String| {
            if !list.contains(&name) {
                list.push(name);
            }
        };
        names.subdomains.iter().for_each(|name| add(&mut self.subdomains, name.to_string()));
        names.domains.iter().for_each(|name| add(&mut self.domains, name.to_string()));
    }

    /// A name that isn't there is a mistake: what was meant to be taken would stay.
    fn take(&mut self, names: &Names) -> Result<(), TokenError> {
        let token = self.name.clone();
        let remove = |list: &mut Vec<String>, name: String| {
            let at = list.iter().position(|has| *has == name);
            let at = at.ok_or_else(|| TokenError::NoRight { token: token.clone(), name })?;
            list.remove(at);
            Ok::<_, TokenError>(())
        };
        names.subdomains.iter().try_for_each(|name| remove(&mut self.subdomains, name.to_string()))?;
        names.domains.iter().try_for_each(|name| remove(&mut self.domains, name.to_string()))
    }
}

fn find(tokens: &[Record], name: &str) -> Result<usize, TokenError> {
    tokens.iter().position(|record| record.name == name).ok_or_else(|| TokenError::Unknown {
        name: name.chars().take(100).collect(),
        known: tokens.iter().map(|record| record.name.clone()).collect(),
    })
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
        let token = file.create("laptop", &Names::default(), Some(pin), SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(token.pin(), Some([7; 32]));
        let other = file.create("ci", &Names::default(), None, SystemTime::UNIX_EPOCH).unwrap();
        assert_ne!(token.secret(), other.secret());

        let listed = file.list().unwrap();
        assert_eq!(listed[0].id, token.id());
        assert_eq!((listed[0].name.as_str(), listed[0].created.as_str()), ("laptop", "1970-01-01T00:00:00Z"));
        let stored = file.stored().unwrap();
        assert!(stored[0].hash.matches(token.secret()) && !stored[0].hash.matches(other.secret()));

        assert!(matches!(
            file.create("ci", &Names::default(), None, SystemTime::UNIX_EPOCH),
            Err(TokenError::Exists(_))
        ));
        file.revoke("laptop").unwrap();
        assert_eq!(file.list().unwrap().len(), 1);
        let error = file.revoke("laptop").unwrap_err().to_string();
        assert!(error.ends_with("there are: ci"), "{error}");
    }

    #[test]
    fn the_secret_is_not_in_the_file() {
        let home = tempfile::tempdir().unwrap();
        let file = TokenFile::new(home.path());
        let token = file.create("laptop", &Names::default(), None, SystemTime::now()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(text.contains(&token.id().to_string()));
        let secret = &token.expose()[20..40];
        assert!(!text.contains(secret));
        let hex = serde_json::to_string(token.secret()).unwrap();
        assert!(!text.contains(hex.trim_matches('"')));
    }

    #[test]
    fn rights_are_given_and_taken_one_by_one() {
        let home = tempfile::tempdir().unwrap();
        let file = TokenFile::new(home.path());
        let names = |subdomains: &[&str], domains: &[&str]| Names {
            subdomains: subdomains.iter().map(|text| text.parse().unwrap()).collect(),
            domains: domains.iter().map(|text| text.parse().unwrap()).collect(),
        };
        file.create("ci", &names(&["dev-*"], &["App.Example.com"]), None, SystemTime::now()).unwrap();
        let edited =
            file.edit("ci", &names(&["dev-*", "www"], &["*.dev.test"]), &names(&[], &["app.example.com"]));
        let edited = edited.unwrap();
        assert_eq!(edited.subdomains, ["dev-*", "www"]);
        assert_eq!(edited.domains, ["*.dev.test"]);
        let rights = file.stored().unwrap()[0].rights.clone();
        assert_eq!(rights.domains, ["*.dev.test".parse().unwrap()]);
        assert!(!rights.any_domain);
        assert!(matches!(
            file.edit("ci", &Names::default(), &names(&["nope"], &[])),
            Err(TokenError::NoRight { .. })
        ));
        assert!(matches!(
            file.edit("ci", &names(&["api"], &[]), &names(&["dev-*"], &[])),
            Err(TokenError::LastRight(_))
        ));
        assert!(matches!(
            file.edit("x", &Names::default(), &Names::default()),
            Err(TokenError::Unknown { .. })
        ));
        assert_eq!(file.list().unwrap()[0], edited, "nothing was changed by what failed");
        let widened = file.edit("ci", &names(&["*"], &[]), &names(&["dev-*"], &[])).unwrap();
        assert_eq!(widened.subdomains, ["www", "*"]);
    }

    #[test]
    fn a_file_from_before_there_were_rights_is_read_and_a_damaged_right_is_none() {
        let home = tempfile::tempdir().unwrap();
        let file = TokenFile::new(home.path());
        file.create("ci", &Names::default(), None, SystemTime::now()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(!text.contains("domains"), "{text}");
        assert_eq!(*file.stored().unwrap()[0].rights, Rights::default());
        let damaged = text.replace("\"created\"", "\"domains\": [\"*\"], \"created\"");
        std::fs::write(file.path(), damaged).unwrap();
        assert!(file.stored().is_err());
    }

    #[test]
    fn names() {
        let home = tempfile::tempdir().unwrap();
        let file = TokenFile::new(home.path());
        for name in ["", "-x", "a b", "a/b", "ü", "a\nb", &"x".repeat(65)] {
            assert!(
                matches!(
                    file.create(name, &Names::default(), None, SystemTime::now()),
                    Err(TokenError::Name)
                ),
                "{name}"
            );
        }
        file.create(&"x".repeat(64), &Names::default(), None, SystemTime::now()).unwrap();
        file.create("me@home_1.x-y", &Names::default(), None, SystemTime::now()).unwrap();
    }

    #[test]
    fn a_newer_or_damaged_file_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let file = TokenFile::new(home.path());
        for text in ["{\"version\":2,\"tokens\":[]}", "{", ""] {
            std::fs::write(file.path(), text).unwrap();
            assert!(file.create("x", &Names::default(), None, SystemTime::now()).is_err(), "{text}");
            assert_eq!(std::fs::read_to_string(file.path()).unwrap(), text);
        }
    }
}
