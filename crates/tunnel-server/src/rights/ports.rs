//! A set of ports: ranges and single ones.

use std::{fmt, ops::RangeInclusive, str::FromStr};

/// Some ports: `20000-20099,22022`, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortSet(Vec<RangeInclusive<u16>>);

/// Not a set of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write ports and ranges within 1 to 65535, such as `20000-20099,22022`, or `none`")]
pub struct ParsePortsError;

impl PortSet {
    /// Whether `port` is one of them.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }

    /// Those that lie within `range` as well.
    pub fn within(&self, range: &RangeInclusive<u16>) -> Self {
        let cut = |own: &RangeInclusive<u16>| *own.start().max(range.start())..=*own.end().min(range.end());
        Self(self.0.iter().map(cut).filter(|range| !range.is_empty()).collect())
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|range| u32::from(*range.end()) - u32::from(*range.start()) + 1).sum()
    }

    /// The one at this place, from 0, in ascending order.
    pub fn nth(&self, mut place: u32) -> Option<u16> {
        for range in &self.0 {
            let length = u32::from(*range.end()) - u32::from(*range.start()) + 1;
            if place < length {
                return u16::try_from(u32::from(*range.start()) + place).ok();
            }
            place -= length;
        }
        None
    }
}

impl From<RangeInclusive<u16>> for PortSet {
    fn from(range: RangeInclusive<u16>) -> Self {
        Self(if range.is_empty() { Vec::new() } else { vec![range] })
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (place, range) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for PortSet {
    type Err = ParsePortsError;

    /// Sorted, and what overlaps or adjoins made one: each set has one form.
    fn from_str(text: &str) -> Result<Self, ParsePortsError> {
        if text == "none" {
            return Ok(Self::default());
        }
        let mut ranges = text.split(',').map(range).collect::<Result<Vec<_>, _>>()?;
        ranges.sort_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u16>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if u32::from(*range.start()) <= u32::from(*last.end()) + 1 => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => merged.push(range),
            }
        }
        Ok(Self(merged))
    }
}

fn range(text: &str) -> Result<RangeInclusive<u16>, ParsePortsError> {
    let port = |text: &str| {
        let has_only_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| has_only_digits && *port != 0).ok_or(ParsePortsError)
    };
    let text = text.trim();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = port(first)?..=port(last)?;
    if range.is_empty() { Err(ParsePortsError) } else { Ok(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_one_form() {
        for (text, form, count) in [
            ("80", "80", 1),
            ("20000-20009,22022", "20000-20009,22022", 11),
            ("22022, 20000-20009", "20000-20009,22022", 11),
            ("1-5,3-9,10,12", "1-10,12", 11),
            ("1-65535", "1-65535", 65_535),
            ("65535,1-65535", "1-65535", 65_535),
            ("none", "none", 0),
        ] {
            let ports: PortSet = text.parse().unwrap();
            assert_eq!((ports.to_string().as_str(), ports.count()), (form, count), "{text}");
        }
        for text in ["", "0", "0-9", "9-1", "70000", "a", "1-2-3", "1,,2", "+1", "1-", "-1", "none,1"] {
            assert_eq!(text.parse::<PortSet>(), Err(ParsePortsError), "{text}");
        }
    }

    #[test]
    fn the_nth_and_what_lies_within() {
        let ports: PortSet = "10-12,20".parse().unwrap();
        let all: Vec<_> = (0..5).map(|place| ports.nth(place)).collect();
        assert_eq!(all, [Some(10), Some(11), Some(12), Some(20), None]);
        assert!(ports.contains(12) && ports.contains(20) && !ports.contains(13));
        assert_eq!(ports.within(&(11..=15)).to_string(), "11-12");
        assert_eq!(ports.within(&(30..=40)).to_string(), "none");
    }
}
