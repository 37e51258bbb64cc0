//! What is done to sessions and tunnels.

use serde::{Deserialize, Serialize};

/// Ends a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kick {
    /// Why, for the client; may be empty.
    pub reason: String,
}

/// Takes a tunnel down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseTunnel {
    /// Its public address.
    pub url: String,
    /// Why, for its client; may be empty.
    #[serde(default)]
    pub reason: String,
}

/// A tunnel, by its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedTunnel {
    /// Its public address.
    pub url: String,
}
