//! Names for the things both peers talk about.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One authenticated client on the server, from login until its last lane and its resume time are over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// A tunnel within its session. The client chooses it, so that a visitor's stream which overtakes the answer to
/// the bind (it may travel on another lane) already means something to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TunnelId(pub u64);

/// One visitor request or connection, the same in both peers' logs and in error pages.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u128);

impl RequestId {
    /// What it is written as: 32 hexadecimal digits, in lower case.
    #[must_use]
    pub fn hex(self) -> [u8; 32] {
        let mut digits = [0; 32];
        HEXLOWER.encode_mut(&self.0.to_be_bytes(), &mut digits);
        digits
    }
}

/// One installation of the client: random, kept on its disk, so that a restarted client is known again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub [u8; 16]);

impl fmt::Display for TunnelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0.to_be_bytes()))
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// The text is not an id of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct ParseIdError;

impl FromStr for SessionId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        fixed_hex(text).map(u64::from_be_bytes).map(Self)
    }
}

impl FromStr for RequestId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        fixed_hex(text).map(u128::from_be_bytes).map(Self)
    }
}

impl FromStr for InstanceId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        fixed_hex(text).map(Self)
    }
}

fn fixed_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| ParseIdError)?;
    bytes.try_into().map_err(|_| ParseIdError)
}

// JSON numbers are exact only up to 2⁵³ in many languages, so the large ids travel as fixed-length hex.
macro_rules! travels_as_text {
    ($($id:ty),+) => {$(
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )+};
}

travels_as_text!(SessionId, RequestId, InstanceId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_as_fixed_length_hex_and_nothing_else_is_taken() {
        let session = SessionId(0xDEAD_BEEF);
        assert_eq!(session.to_string(), "00000000deadbeef");
        assert_eq!("00000000deadbeef".parse(), Ok(session));
        for bad in ["", "deadbeef", "00000000DEADBEEF", "00000000deadbeef0", "zzzzzzzzzzzzzzzz"] {
            assert_eq!(bad.parse::<SessionId>(), Err(ParseIdError), "{bad}");
        }
        let instance = InstanceId([7; 16]);
        let json = serde_json::to_string(&instance).unwrap();
        assert_eq!(serde_json::from_str::<InstanceId>(&json).unwrap(), instance);
    }
}
