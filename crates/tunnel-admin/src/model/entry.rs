//! Signing in.

use serde::{Deserialize, Serialize};

use crate::stamp::Stamp;

/// How one may sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInMethods {
    /// Some of `password`, `token` and `link`.
    pub methods: Vec<String>,
    /// The server's domain.
    pub domain: String,
}

/// What is shown to sign in: one of these.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Credentials {
    /// The password.
    Password(String),
    /// The admin token.
    Token(String),
    /// The secret part of a link.
    Link(String),
}

/// A browser is in: it has a cookie now, and sends this key with each request, as `X-Tunnel-Key`.
#[derive(Clone, Serialize, Deserialize)]
pub struct SignedIn {
    /// The key.
    pub key: String,
    /// Until when, at the latest.
    pub until: Stamp,
}

/// A link that lets one browser in, once.
#[derive(Clone, Serialize, Deserialize)]
pub struct SignInLink {
    /// Open this.
    pub url: String,
    /// Until when it works.
    pub until: Stamp,
}

macro_rules! secret {
    ($($name:ident),+) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )+};
}

secret!(Credentials, SignedIn, SignInLink);
