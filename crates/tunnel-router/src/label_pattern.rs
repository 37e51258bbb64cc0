//! Which labels somebody may have: `www`, or all that fit `dev-*`.

use std::fmt;
use std::str::FromStr;

use crate::label::{Label, LabelError};

/// A label, or a set of labels with one `*` in it that stands for any characters, none included.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LabelPattern(String);

/// Why a text is no label pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelPatternError {
    /// Without its `*` it is no label, nor could it become one.
    #[error("{0}")]
    Label(#[source] LabelError),
    /// A second `*`.
    #[error("the pattern has more than one `*`")]
    Stars,
}

impl LabelPattern {
    /// Reads a label or a pattern of one, folding case.
    ///
    /// # Errors
    /// [`LabelPatternError`] for a text that no label could fit.
    pub fn parse(text: &str) -> Result<Self, LabelPatternError> {
        if text.matches('*').count() > 1 {
            return Err(LabelPatternError::Stars);
        }
        // The shortest label that fits, or with nothing around the star the shortest there is.
        Label::parse(&text.replace('*', "a")).map_err(LabelPatternError::Label)?;
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// Whether `label` is this one or fits it. What is reserved is the caller's business.
    pub fn matches(&self, label: &Label) -> bool {
        let label = label.as_str();
        match self.0.split_once('*') {
            None => self.0 == label,
            Some((front, back)) => {
                label.strip_prefix(front).and_then(|rest| rest.strip_suffix(back)).is_some()
            }
        }
    }

    /// Whether it has a `*`; without, it names exactly one label.
    pub fn is_wildcard(&self) -> bool {
        self.0.contains('*')
    }

    /// A label that fits, with `filling` in the star's place; `None` if that is no label.
    pub fn fill(&self, filling: &str) -> Option<Label> {
        Label::parse(&self.0.replace('*', filling)).ok()
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LabelPattern {
    type Err = LabelPatternError;

    fn from_str(text: &str) -> Result<Self, LabelPatternError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_what_it_says() {
        for (pattern, label, expected) in [
            ("www", "www", true),
            ("WWW", "www", true),
            ("www", "www2", false),
            ("dev-*", "dev-1", true),
            ("dev-*", "dev", false),
            ("dev-*", "mydev-1", false),
            ("*-ci", "a-ci", true),
            ("a*b", "ab", true),
            ("a*b", "axxb", true),
            ("ab*ab", "ab", false),
            ("aba*aba", "ababa", false),
            ("*", "anything", true),
        ] {
            let matches = LabelPattern::parse(pattern).unwrap().matches(&Label::parse(label).unwrap());
            assert_eq!(matches, expected, "{pattern} on {label}");
        }
    }

    #[test]
    fn refuses_what_no_label_fits() {
        for (text, error) in [
            ("", LabelPatternError::Label(LabelError::Empty)),
            ("a.b", LabelPatternError::Label(LabelError::Character)),
            ("*.b", LabelPatternError::Label(LabelError::Character)),
            ("-*", LabelPatternError::Label(LabelError::Hyphen)),
            ("xn--*", LabelPatternError::Label(LabelError::Punycode)),
            ("_acme*", LabelPatternError::Label(LabelError::Character)),
            ("*a*", LabelPatternError::Stars),
        ] {
            assert_eq!(LabelPattern::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn fills_its_star() {
        let pattern = LabelPattern::parse("dev-*").unwrap();
        assert_eq!(pattern.fill("otter-7").unwrap().as_str(), "dev-otter-7");
        assert_eq!(pattern.fill(""), None, "a hyphen at the end");
        assert_eq!(pattern.fill(&"x".repeat(60)), None, "too long");
    }

    proptest! {
        #[test]
        fn what_fills_it_matches_it(front in "[ab-]{0,3}", back in "[ab-]{0,3}", filling in "[ab-]{0,3}") {
            if let Ok(pattern) = LabelPattern::parse(&format!("{front}*{back}"))
                && let Some(label) = pattern.fill(&filling)
            {
                prop_assert!(pattern.matches(&label));
            }
        }
    }
}
