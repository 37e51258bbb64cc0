//! Lists as OpenTelemetry's variables have them: `name=value,name=value`, values percent-encoded.

use std::{fmt, str::FromStr};

use tunnel_transport::percent_decode;

/// Names and values, in their order. The values may be secrets: `Debug` keeps them to itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pairs(pub Vec<(String, String)>);

/// Why a text is no [`Pairs`]. It doesn't say the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {0} is not `name=value`; entries are separated by commas")]
pub struct PairsError(usize);

impl FromStr for Pairs {
    type Err = PairsError;

    fn from_str(text: &str) -> Result<Self, PairsError> {
        let entries = text.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty());
        let pairs = entries.map(|(number, entry)| pair(entry).ok_or(PairsError(number + 1)));
        pairs.collect::<Result<_, _>>().map(Self)
    }
}

fn pair(entry: &str) -> Option<(String, String)> {
    let (name, value) = entry.split_once('=')?;
    Some((name.trim().to_owned(), percent_decode(value.trim())?)).filter(|(name, _)| !name.is_empty())
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_names_and_values() {
        let pairs: Pairs = " a=1 , b=x=y,c=%2C%20,, d=".parse().unwrap();
        let read: Vec<_> = pairs.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read, [("a", "1"), ("b", "x=y"), ("c", ", "), ("d", "")]);
        assert_eq!(format!("{pairs:?}"), r#"["a", "b", "c", "d"]"#);
        for (text, number) in [("a", 1), ("a=1,=2", 2), ("a=%zz", 1), ("a=%ff", 1)] {
            assert_eq!(text.parse::<Pairs>(), Err(PairsError(number)), "{text}");
        }
    }
}
