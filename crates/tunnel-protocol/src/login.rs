//! The login: everything said before a multiplexer runs, in frames of at most
//! [`LOGIN_FRAME_MAX`](crate::limits::LOGIN_FRAME_MAX) bytes.
//!
//! Unknown fields are ignored, so that either side may be newer. New fields have defaults.

use serde::{Deserialize, Serialize};

use crate::{Code, InstanceId, Secret, SessionId, TokenId, Version, version::VersionRange};

/// The server's first words, on a plaintext connection only: what the client's [`Credential::Proof`] must answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Random, used once. Not secret, but of the same form.
    pub nonce: Secret<32>,
}

/// The client's first words (over TLS: the first words at all).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol versions the client speaks.
    pub versions: VersionRange,
    /// Who the client is.
    pub credential: Credential,
    /// Which installation of the client this is.
    pub instance: InstanceId,
    /// The client's name and version, for people: `tunnel/0.1.0`.
    #[serde(default)]
    pub agent: String,
    /// The client's machine, for people: `laptop`.
    #[serde(default)]
    pub machine: String,
    /// Whether the client understands [twins](crate::stream_header::Twin). A server that does, too, may send some.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub twins: bool,
    /// Present when this connection is a further lane of a running session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<Attach>,
}

/// How a client shows that it has a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Credential {
    /// The token itself: only ever inside TLS with a verified certificate.
    Token {
        /// The token's public part.
        id: TokenId,
        /// The token's secret part.
        secret: Secret<24>,
    },
    /// The answer to a [`Challenge`]: see [`proof`](crate::proof).
    Proof {
        /// The token's public part.
        id: TokenId,
        /// The MAC over the challenge's nonce.
        mac: Secret<32>,
    },
    /// Nothing: for servers that run with `--auth none` on loopback.
    Anonymous,
    /// A form this build doesn't know.
    #[serde(other)]
    Unknown,
}

/// Which session a further lane belongs to, and the proof that it may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// From the session's [`Welcome`].
    pub session: SessionId,
    /// From the session's [`Welcome`].
    pub resume: Secret<32>,
}

/// The server's answer; after a `Welcome` the next byte belongs to the multiplexer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum LoginReply {
    /// Come in.
    Welcome(Welcome),
    /// Stay out; the server closes the connection.
    Refused(Refusal),
}

/// The session that now exists (or that the lane now belongs to).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version both sides speak from here on.
    pub version: Version,
    /// The session's id.
    pub session: SessionId,
    /// What further lanes of this session show in [`Attach`].
    pub resume: Secret<32>,
    /// How often the server sends heartbeats, and expects them, in milliseconds.
    pub heartbeat_ms: u64,
    /// How long the server believes a silent client alive, in milliseconds.
    pub dead_after_ms: u64,
    /// How many streams at once the server opens on one lane; the client must allow for more.
    pub streams_per_lane: u32,
    /// How many lanes the server takes for one session.
    pub max_lanes: u32,
    /// How many seconds the session's names are held after an unclean loss.
    pub hold_s: u64,
    /// The server's name and version, for people.
    #[serde(default)]
    pub agent: String,
    /// What the server calls this client: the token's name.
    #[serde(default)]
    pub account: String,
    /// The server's clock, in milliseconds since 1970, so that a client whose own is wrong can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ms: Option<u64>,
}

/// Why not, for machines and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The reason.
    pub code: Code,
    /// One line: what happened and what to do.
    pub message: String,
    /// When trying again makes sense, in milliseconds; absent if it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal that trying again can't cure.
    pub fn permanent(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }

    /// A refusal that may be over after `retry_after_ms`.
    pub fn passing(code: Code, message: impl Into<String>, retry_after_ms: u64) -> Self {
        Self { code, message: message.into(), retry_after_ms: Some(retry_after_ms) }
    }

    /// Whether trying again later makes sense.
    pub fn is_passing(&self) -> bool {
        self.retry_after_ms.is_some()
    }
}
