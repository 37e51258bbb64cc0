//! What the server notes down for the commands that run beside it (`server.json`).

use std::path::Path;

use serde::{Deserialize, Serialize};
use tunnel_server::Hostname;

use super::files::{self, FileError};

/// What `tunnel token create` must know of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    version: u32,
    /// Whether tokens carry the pin of the key in this directory: not if clients verify a certificate by its issuer.
    pub(crate) pin: bool,
    /// What follows `tunnel login` on a laptop; none before the server's first start.
    #[serde(default)]
    pub(crate) login: Option<String>,
}

impl Facts {
    pub(crate) fn new(pin: bool) -> Self {
        Self { version: 1, pin, login: None }
    }

    /// With how clients reach the server.
    pub(crate) fn reached_by(self, login: String) -> Self {
        Self { login: Some(login), ..self }
    }

    /// The server's domain, by which clients reach it.
    pub(crate) fn domain(&self) -> Option<Hostname> {
        let (host, _) = self.login.as_deref()?.split_whitespace().next()?.rsplit_once(':')?;
        Hostname::parse(host).ok()
    }

    /// What is noted; the defaults before the server's first start.
    pub(crate) fn load(directory: &Path) -> Result<Self, FileError> {
        Ok(files::read_json(&directory.join(FILE))?.unwrap_or(Self::new(true)))
    }

    /// Notes it down, unless it is there already.
    pub(crate) fn save(&self, directory: &Path) -> Result<(), FileError> {
        let path = directory.join(FILE);
        if files::read_json(&path).ok().flatten().as_ref() == Some(self) {
            Ok(())
        } else {
            files::write_json(&path, self)
        }
    }
}

const FILE: &str = "server.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_carry_a_pin_unless_the_server_noted_otherwise() {
        let home = tempfile::tempdir().unwrap();
        assert!(Facts::load(home.path()).unwrap().pin);
        Facts::new(false).save(home.path()).unwrap();
        assert!(!Facts::load(home.path()).unwrap().pin);
        Facts::new(true).reached_by("vps.test:4444".into()).save(home.path()).unwrap();
        assert_eq!(Facts::load(home.path()).unwrap().login.as_deref(), Some("vps.test:4444"));
        for login in ["vps.test:4444", "vps.test:4444 --plaintext"] {
            let domain = Facts::new(true).reached_by(login.into()).domain();
            assert_eq!(domain.unwrap().as_str(), "vps.test", "{login}");
        }
        assert_eq!(Facts::new(true).domain(), None);
        // As older versions wrote it.
        std::fs::write(home.path().join(FILE), r#"{"version":1,"pin":false}"#).unwrap();
        assert_eq!(Facts::load(home.path()).unwrap(), Facts::new(false));
    }
}
