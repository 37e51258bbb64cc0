//! The password and the admin token: what is kept of them, and how they are compared.

use std::fmt;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use subtle::ConstantTimeEq;

use super::digest;

/// The shortest password, in characters.
const SHORTEST_PASSWORD: usize = 8;
/// The shortest admin token, in characters: it is compared by a fast hash, so it must be random and long.
const SHORTEST_TOKEN: usize = 32;

/// A password, as its hash: argon2id with the parameters that OWASP recommends (19 MiB, two passes).
#[derive(Clone)]
pub struct Password(pub(super) String);

/// The admin token, as its hash.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

/// A secret that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// A password that is soon guessed.
    #[error("the admin password has fewer than {SHORTEST_PASSWORD} characters")]
    ShortPassword,
    /// A token that is soon guessed.
    #[error("the admin token has fewer than {SHORTEST_TOKEN} characters; make one: openssl rand -hex 32")]
    ShortToken,
    /// It begins as a hash does and is none.
    #[error("the admin password begins with `$` and is no argon2 hash ({0})")]
    Hash(String),
    /// The hash can't be made.
    #[error("the admin password can't be hashed ({0})")]
    Hashing(String),
}

impl Password {
    /// From a password, or from its argon2 hash in the PHC form (`$argon2id$v=19$…`). It takes a moment, on purpose.
    ///
    /// # Errors
    /// [`SecretError`]
    pub fn new(text: &str) -> Result<Self, SecretError> {
        if text.starts_with('$') {
            PasswordHash::new(text).map_err(|error| SecretError::Hash(error.to_string()))?;
            if !text.starts_with("$argon2") {
                return Err(SecretError::Hash("another kind of hash".into()));
            }
            return Ok(Self(text.to_owned()));
        }
        if text.chars().count() < SHORTEST_PASSWORD {
            return Err(SecretError::ShortPassword);
        }
        let hash: PasswordHash = Argon2::default()
            .hash_password(text.as_bytes())
            .map_err(|error| SecretError::Hashing(error.to_string()))?;
        Ok(Self(hash.to_string()))
    }

    /// Whether `shown` is this password; as slow as making one.
    pub(super) fn is(&self, shown: &str) -> bool {
        Argon2::default().verify_password(shown.as_bytes(), self.0.as_str()).is_ok()
    }
}

impl AdminToken {
    /// From a token: at least 32 characters, at random.
    ///
    /// # Errors
    /// [`SecretError::ShortToken`]
    pub fn new(text: &str) -> Result<Self, SecretError> {
        if text.chars().count() < SHORTEST_TOKEN {
            return Err(SecretError::ShortToken);
        }
        Ok(Self(digest(text)))
    }

    /// Whether `shown` is this token.
    pub(super) fn is(&self, shown: &str) -> bool {
        digest(shown).ct_eq(&self.0).into()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}
