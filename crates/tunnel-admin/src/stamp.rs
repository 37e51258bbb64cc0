//! Moments as they are written in JSON: RFC 3339, in UTC, to the millisecond.

use std::{fmt, time::SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub SystemTime);

impl Stamp {
    /// This moment.
    pub fn now() -> Self {
        Self(SystemTime::now())
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(self.0).fmt(f)
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_round_trips_to_the_millisecond() {
        let text = "\"2026-11-27T04:05:06.789Z\"";
        let stamp: Stamp = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&stamp).unwrap(), text);
        assert!(serde_json::from_str::<Stamp>("\"yesterday\"").is_err());
    }
}
