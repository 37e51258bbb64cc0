//! Tokens: what a person pastes on the laptop to be let in, and to know the server when it answers.
//!
//! A token names itself (`id`), proves itself (`secret`) and carries the pin of the server's key, so that the very
//! first connection is verified with no certificate authority and no question asked. Only the first two are ever
//! sent; the server keeps a hash of the secret.

use std::{fmt, str::FromStr};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{Secret, ids::ParseIdError};

/// How a token's text begins: makes leaked ones findable by secret scanners.
const PREFIX: &str = "tnl_";
/// The layout of what follows the prefix.
const LAYOUT: u8 = 1;
const ID: usize = 8;
const SECRET: usize = 24;
const PIN: usize = 32;
const CHECKSUM: usize = 4;

/// What a client is given: `tnl_…`, one line.
///
/// `Debug` redacts it; [`Token::expose`] is the only way to its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    id: TokenId,
    secret: Secret<SECRET>,
    pin: Option<[u8; PIN]>,
}

/// The public part of a token: safe in logs, and what rights and leases hang on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub [u8; ID]);

/// What the server stores of a token's secret: SHA-256, which suffices for 192 random bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

/// Why a text isn't a token. Says nothing of the text itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTokenError {
    /// It doesn't begin with `tnl_`.
    #[error("not a tunnel token: it should begin with `tnl_`")]
    NotAToken,
    /// It begins like a token of a newer version.
    #[error("a token of a newer version than this client knows: upgrade the client")]
    NewerVersion,
    /// Characters are missing, added or changed.
    #[error("the token is damaged: characters are missing or changed; copy it again, whole")]
    Damaged,
}

impl Token {
    /// A token of the given parts. `random` comes from a cryptographic random source: 8 bytes of id, 24 of secret.
    /// `pin` is the SHA-256 of the server's public key, or `None` if the server shows a certificate that clients
    /// verify by their roots.
    pub fn new(random: [u8; ID + SECRET], pin: Option<[u8; PIN]>) -> Self {
        let mut id = [0; ID];
        let mut secret = [0; SECRET];
        id.copy_from_slice(&random[..ID]);
        secret.copy_from_slice(&random[ID..]);
        Self { id: TokenId(id), secret: Secret::new(secret), pin }
    }

    /// The public part.
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// The secret part.
    pub fn secret(&self) -> &Secret<SECRET> {
        &self.secret
    }

    /// The SHA-256 of the public key that the server must show, if the token says so.
    pub fn pin(&self) -> Option<[u8; PIN]> {
        self.pin
    }

    /// What the server keeps.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.secret)
    }

    /// The text to paste. The caller prints it once and forgets it.
    pub fn expose(&self) -> String {
        let mut bytes = vec![LAYOUT];
        bytes.extend_from_slice(&self.id.0);
        bytes.extend_from_slice(self.secret.expose());
        bytes.extend_from_slice(self.pin.as_ref().map_or(&[], |pin| pin.as_slice()));
        bytes.extend_from_slice(&checksum(&bytes));
        format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }
}

impl FromStr for Token {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(ParseTokenError::NotAToken)?;
        let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| ParseTokenError::Damaged)?;
        let (body, sum) =
            bytes.split_at_checked(bytes.len().saturating_sub(CHECKSUM)).ok_or(ParseTokenError::Damaged)?;
        if body.is_empty() || checksum(body) != sum {
            return Err(ParseTokenError::Damaged);
        }
        if body[0] != LAYOUT {
            return Err(ParseTokenError::NewerVersion);
        }
        let (random, pin) = body[1..].split_first_chunk().ok_or(ParseTokenError::Damaged)?;
        let pin = match pin.len() {
            0 => None,
            _ => Some(pin.try_into().map_err(|_| ParseTokenError::Damaged)?),
        };
        Ok(Self::new(*random, pin))
    }
}

impl TokenHash {
    /// The hash of a secret.
    pub fn of(secret: &Secret<SECRET>) -> Self {
        Self(Sha256::digest(secret.expose()).into())
    }

    /// Whether `secret` is the one, in constant time.
    pub fn matches(&self, secret: &Secret<SECRET>) -> bool {
        self.0.ct_eq(&Self::of(secret).0).into()
    }

    /// The bytes, as the key of a [`crate::proof`].
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// The hash as hex, for the server's store.
impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        HEXLOWER.encode(&hash.0)
    }
}

impl FromStr for TokenHash {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| ParseIdError)?;
        bytes.try_into().map(Self).map_err(|_| ParseIdError)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TokenId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| ParseIdError)?;
        bytes.try_into().map(Self).map_err(|_| ParseIdError)
    }
}

impl Serialize for TokenId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let digest = Sha256::digest(bytes);
    [digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example(pin: Option<[u8; 32]>) -> Token {
        Token::new(std::array::from_fn(|i| u8::try_from(i).unwrap()), pin)
    }

    #[test]
    fn golden() {
        // Other implementations rely on this exact text: see docs/PROTOCOL.md.
        assert_eq!(example(None).expose(), "tnl_AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fSRF2sA");
    }

    #[test]
    fn tokens_round_trip_with_and_without_a_pin() {
        for pin in [None, Some([9; 32])] {
            let token = example(pin);
            assert_eq!(token.expose().parse(), Ok(token.clone()));
            assert_eq!(
                format!("  {}\n", token.expose()).parse(),
                Ok(token.clone()),
                "pasted with space around"
            );
            assert!(token.hash().matches(token.secret()));
        }
    }

    #[test]
    fn neither_debug_nor_errors_show_the_secret() {
        let text = example(None).expose();
        assert!(!format!("{:?}", example(None)).contains("CAkKCwwN"));
        let mut cut = text.clone();
        cut.pop();
        assert_eq!(cut.parse::<Token>(), Err(ParseTokenError::Damaged));
        assert_eq!("hunter2".parse::<Token>(), Err(ParseTokenError::NotAToken));
    }

    proptest! {
        #[test]
        fn one_changed_character_is_noticed(at in 4usize..50, to in "[A-Za-z0-9_-]") {
            let text = example(Some([3; 32])).expose();
            let mut changed = text.clone();
            changed.replace_range(at..=at, &to);
            prop_assume!(changed != text);
            prop_assert!(changed.parse::<Token>().is_err());
        }

        #[test]
        fn arbitrary_text_never_panics(text in "(tnl_)?.{0,80}") {
            let _ = text.parse::<Token>();
        }
    }
}
