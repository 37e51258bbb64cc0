//! What is kept: tokens, reservations, usage, the audit log.

use serde::{Deserialize, Deserializer, Serialize};

use crate::stamp::Stamp;

/// Tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenList {
    /// These, by name.
    pub tokens: Vec<Token>,
}

/// One token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its public id.
    pub id: String,
    /// What the operator calls it.
    pub name: String,
    /// When it was made, if that is known.
    pub created: Option<Stamp>,
    /// When its secret was last replaced, if ever.
    pub rotated: Option<Stamp>,
    /// Until when the secret before is taken as well.
    #[serde(default)]
    pub former_until: Option<Stamp>,
    /// What it may do.
    pub rights: TokenRights,
    /// Its clients that are online. The API counts them: whoever keeps tokens leaves it 0.
    #[serde(default)]
    pub sessions: usize,
}

/// One token, with what goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenInFull {
    /// The token.
    pub token: Token,
    /// What is reserved for it.
    pub reserved: Vec<String>,
    /// What its visitors used, the latest month first.
    pub usage: Vec<Usage>,
}

/// What a token may do. A limit that isn't there limits nothing beyond what the server allows everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenRights {
    /// The subdomains it may have, also as patterns such as `dev-*`. None named: all that aren't reserved.
    pub subdomains: Vec<String>,
    /// Domains of its owner's own.
    pub domains: Vec<String>,
    /// The kinds of tunnels: `http`, `tcp`, `udp`, `tls`. None named: all.
    pub kinds: Vec<String>,
    /// The TCP ports it may have, as `20000-20010` or `20000`. None named: all of the server's.
    pub tcp_ports: Vec<String>,
    /// The UDP ports it may have. None named: all of the server's.
    pub udp_ports: Vec<String>,
    /// How many tunnels at a time.
    pub max_tunnels: Option<u64>,
    /// How many visitor connections at a time, on all its tunnels.
    pub max_connections: Option<u64>,
    /// Bytes per second, each way, on all its tunnels.
    pub bandwidth: Option<u64>,
    /// Bytes per calendar month (UTC), both ways together.
    pub monthly_bytes: Option<u64>,
    /// From when on it is worth nothing.
    pub expires: Option<Stamp>,
}

/// What becomes of a token's rights. What isn't there stays as it is; `null`, or an empty list, lifts a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RightsChanges {
    /// Subdomains to give.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub give_subdomains: Vec<String>,
    /// Subdomains to take, as they are listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub take_subdomains: Vec<String>,
    /// Domains to give.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub give_domains: Vec<String>,
    /// Domains to take, as they are listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub take_domains: Vec<String>,
    /// The kinds of tunnels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<String>>,
    /// The TCP ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_ports: Option<Vec<String>>,
    /// The UDP ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp_ports: Option<Vec<String>>,
    /// How many tunnels at a time.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    pub max_tunnels: Option<Option<u64>>,
    /// How many visitor connections at a time.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    pub max_connections: Option<Option<u64>>,
    /// Bytes per second, each way.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    pub bandwidth: Option<Option<u64>>,
    /// Bytes per calendar month (UTC), both ways together.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    pub monthly_bytes: Option<Option<u64>>,
    /// From when on it is worth nothing.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    pub expires: Option<Option<Stamp>>,
}

/// A `null` that is there, unlike one that isn't.
fn there<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// A token to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What to call it.
    pub name: String,
    /// What it may do; by default whatever the server allows everybody.
    #[serde(default)]
    pub rights: TokenRights,
}

/// A token with its secret, which is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedToken {
    /// The token.
    pub token: Token,
    /// What to give to `tunnel login`.
    pub secret: String,
}

/// A name or port kept for one token, whether its client is there or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// A subdomain, a domain, or a port as `tcp:20000`.
    pub name: String,
    /// The token's name.
    #[serde(rename = "for")]
    pub token: String,
    /// Since when; set by the server.
    #[serde(default)]
    pub since: Option<Stamp>,
}

/// Reservations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationList {
    /// These, by name.
    pub reservations: Vec<Reservation>,
}

/// What all tokens used in one month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageList {
    /// By token.
    pub usage: Vec<Usage>,
}

/// What a token used in one month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The token's name.
    pub token: String,
    /// The month in UTC: `2026-11`.
    pub month: String,
    /// Bytes from visitors.
    pub bytes_in: u64,
    /// Bytes to visitors.
    pub bytes_out: u64,
    /// Web requests.
    pub requests: u64,
    /// TCP connections, TLS connections and UDP flows.
    pub connections: u64,
    /// How many bytes it may use in a month.
    pub monthly_bytes: Option<u64>,
}

/// How a token is given a new secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// For how many seconds the former secret is taken as well, so that clients can be moved; 0 by default.
    pub grace_s: u32,
}

/// Which part of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditPage {
    /// Only entries older than the one with this number; the newest without.
    pub before: Option<u64>,
    /// How many at most; 100 without, 1,000 at most.
    pub limit: Option<u32>,
}

impl AuditPage {
    /// How many entries are given if nobody says.
    pub const USUAL: u32 = 100;
    /// How many are given at most.
    pub const MOST: u32 = 1000;
}

/// A part of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditList {
    /// These, newest first.
    pub entries: Vec<AuditEntry>,
}

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its number; later entries have greater ones.
    pub id: u64,
    /// When.
    pub at: Stamp,
    /// Who did it.
    pub by: ActorRecord,
    /// What was done: `token-created`, `session-kicked`, …
    pub what: String,
    /// To whom or what; may be empty.
    pub about: String,
    /// More, for people; may be empty.
    pub detail: String,
}

/// Who did something, in words, as it was written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActorRecord(pub String);

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedToken").field("token", &self.token).finish_non_exhaustive()
    }
}
