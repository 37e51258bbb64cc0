//! What the old and the new process, and whoever asks for an upgrade, say to each other.
//!
//! The two processes may be of different versions: unknown fields are ignored, and a message that isn't understood
//! ends the attempt before anything has been handed over. What came later is said only to who has said that it
//! understands it (`hears`, `beats`, `releases`), so that the version of the words stays, and any two versions can hand over.

use serde::{Deserialize, Serialize};
use tunnel_server::SavedLease;

use crate::run::sockets::Role;

/// The version of these messages.
pub(super) const WORDS: u32 = 1;

/// From the old process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub(super) enum ToSuccessor {
    /// The first: what follows is in these words.
    Begin {
        words: u32,
        /// Whether it listens for [`ToPredecessor::Beat`] and [`ToPredecessor::Opened`].
        #[serde(default)]
        hears: bool,
    },
    /// With a listening socket.
    Socket { role: Role },
    /// With the listening socket by which upgrades are asked for.
    Door,
    /// All sockets that there are without tunnels have come. With the lock of the data directory, if the old process
    /// has it and is new enough to pass it on.
    Prepare,
    /// Somebody's name.
    Lease { lease: SavedLease },
    /// With the socket of a tunnel's port.
    Port { kind: Kind },
    /// All has been handed over: take clients.
    Run,
    /// A name that was handed over is held no longer: its owner has left for good since. Only to one that `releases`.
    Release { lease: SavedLease },
    /// Take visitors.
    Open,
    /// It took everything back, since it heard nothing in time: serve nobody, and end. Only to one that beats.
    Disown,
}

/// Kinds of ports.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Tcp,
    Udp,
}

/// From the new process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub(super) enum ToPredecessor {
    /// It can take over.
    Ready {
        version: String,
        /// Whether it says [`ToPredecessor::Beat`] and [`ToPredecessor::Opened`], and understands
        /// [`ToSuccessor::Disown`].
        #[serde(default)]
        beats: bool,
        /// Whether it understands [`ToSuccessor::Release`].
        #[serde(default)]
        releases: bool,
    },
    /// It can't, and ends.
    Failed { reason: String },
    /// It serves what was handed over: the first answers `Run`, others follow until `Open` comes. Only to one that
    /// hears.
    Beat,
    /// It takes visitors; answers `Open`. Only to one that hears.
    Opened,
}

/// From whoever asks for an upgrade, in a line. Connecting alone asks for nothing: a second server looks in so whether
/// another one is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub(super) enum Request {
    Upgrade,
}

/// To whoever asked for an upgrade, a line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// The new process takes clients, and those of the old one are moving.
    /// [`Outcome::Failed`] may still follow, if it dies.
    Ready { pid: u32, version: String },
    /// Clients have moved; so many are late.
    Moved { clients: usize, late: usize },
    /// There is no upgrade.
    Failed { reason: String },
}
