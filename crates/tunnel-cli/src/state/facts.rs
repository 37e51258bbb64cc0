//! What the server notes down for the commands that run beside it (`server.json`).

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::{self, FileError};

/// What `tunnel token create` must know of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    version: u32,
    /// Whether tokens carry the pin of the key in this directory: not if clients verify a certificate by its issuer.
    pub(crate) pin: bool,
}

impl Facts {
    pub(crate) fn new(pin: bool) -> Self {
        Self { version: 1, pin }
    }

    /// What is noted; the defaults before the server's first start.
    pub(crate) fn load(directory: &Path) -> Result<Self, FileError> {
        Ok(files::read_json(&directory.join(FILE))?.unwrap_or(Self::new(true)))
    }

    /// Notes it down, unless it is there already.
    pub(crate) fn save(self, directory: &Path) -> Result<(), FileError> {
        let path = directory.join(FILE);
        if files::read_json(&path).ok().flatten() == Some(self) {
            Ok(())
        } else {
            files::write_json(&path, &self)
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
    }
}
