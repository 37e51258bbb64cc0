//! Which protocol versions two peers share, and what to tell a person when they share none.

use serde::{Deserialize, Serialize};

/// One version of the protocol: an integer, raised only when old peers could no longer understand new ones.
/// Additions that old peers may ignore do not raise it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u16);

/// The versions this build speaks.
pub const SUPPORTED: VersionRange = VersionRange { min: Version(1), max: Version(1) };

/// An inclusive range of versions, as a peer offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRange {
    /// The oldest version the peer still speaks.
    pub min: Version,
    /// The newest version the peer speaks.
    pub max: Version,
}

/// Why two peers can't talk: one of them must be upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The client's newest version is older than the server's oldest.
    ClientTooOld,
    /// The client's oldest version is newer than the server's newest.
    ServerTooOld,
}

impl VersionRange {
    /// The newest version both `self` (the server) and `client` speak.
    ///
    /// # Errors
    /// [`Mismatch`] names the side that must be upgraded.
    pub fn agree(self, client: Self) -> Result<Version, Mismatch> {
        if client.max < self.min {
            Err(Mismatch::ClientTooOld)
        } else if client.min > self.max {
            Err(Mismatch::ServerTooOld)
        } else {
            Ok(self.max.min(client.max))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_picks_the_newest_shared_version_or_names_the_old_side() {
        let range = |min, max| VersionRange { min: Version(min), max: Version(max) };
        for (server, client, expected) in [
            (range(1, 1), range(1, 1), Ok(Version(1))),
            (range(1, 4), range(2, 3), Ok(Version(3))),
            (range(2, 3), range(1, 9), Ok(Version(3))),
            (range(3, 4), range(1, 2), Err(Mismatch::ClientTooOld)),
            (range(1, 2), range(3, 4), Err(Mismatch::ServerTooOld)),
        ] {
            assert_eq!(server.agree(client), expected, "{server:?} with {client:?}");
        }
    }
}
