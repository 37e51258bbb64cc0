//! What of a host's paths a tunnel gets, so that several tunnels share one host.
//!
//! Bytes are compared as they came: `/%61pi` and `/x/../api` are not below `/api`, and the upstream gets what the
//! visitor sent. Whoever decoded first would see paths that no upstream sees, and two readers of one path is how one
//! is fooled. So a prefix divides work between upstreams; it is no wall in front of one that also serves the rest.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Most bytes in a prefix.
const MAX_PREFIX: usize = 256;

/// The paths that are this one or below it: `/api` stands for `/api`, `/api/x` and `/api?x`, and not for `/apix`.
///
/// Ordered by its text, so that of two that match one path the longer is the greater.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPrefix(Arc<str>);

/// Why a text is no path prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// It doesn't begin with a slash.
    #[error("the path doesn't begin with `/`")]
    Relative,
    /// Over 256 bytes.
    #[error("the path is longer than 256 bytes")]
    TooLong,
    /// A query or a fragment.
    #[error("the path holds `?` or `#`, where a path ends")]
    Query,
    /// Spaces, controls and whatever isn't ASCII: a visitor's browser sends them percent-encoded.
    #[error("the path holds something that travels percent-encoded (a space, for example, as `%20`)")]
    Character,
    /// Two slashes in a row.
    #[error("the path has an empty segment (`//`)")]
    EmptySegment,
    /// `.` or `..`, which browsers resolve before they ask.
    #[error("the path has a segment `.` or `..`")]
    DotSegment,
}

impl PathPrefix {
    /// Every path.
    pub fn root() -> Self {
        Self(Arc::from(""))
    }

    /// Reads a prefix. One slash at its end makes no difference; `/` is [`root`](Self::root).
    ///
    /// # Errors
    /// [`PathError`] for what no visitor's path could begin with, or what could be read in two ways.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let Some(path) = text.strip_prefix('/') else { return Err(PathError::Relative) };
        if text.len() > MAX_PREFIX {
            return Err(PathError::TooLong);
        }
        if path.contains(['?', '#']) {
            return Err(PathError::Query);
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(PathError::Character);
        }
        if path.is_empty() {
            return Ok(Self::root());
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        for segment in path.split('/') {
            match segment {
                "" => return Err(PathError::EmptySegment),
                "." | ".." => return Err(PathError::DotSegment),
                _ => {}
            }
        }
        Ok(Self(Arc::from(&text[..=path.len()])))
    }

    /// Whether `path`, as in a request's target with or without the query, is this one or below it.
    pub fn matches(&self, path: &str) -> bool {
        path.strip_prefix(&*self.0)
            .is_some_and(|rest| self.is_root() || matches!(rest.as_bytes(), [] | [b'/' | b'?', ..]))
    }

    /// The text as it is put behind a host: no slash at its end, and so empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for every path.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "/" } else { &self.0 })
    }
}

impl FromStr for PathPrefix {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_itself_and_what_is_below() {
        for (prefix, path, expected) in [
            ("/api", "/api", true),
            ("/api", "/api/", true),
            ("/api", "/api/v1?x=/", true),
            ("/api", "/api?x", true),
            ("/api", "/api//x", true),
            ("/api", "/apix", false),
            ("/api", "/ap", false),
            ("/api", "/", false),
            ("/api", "/API", false),
            ("/api", "/%61pi", false),
            ("/api", "/x/../api", false),
            ("/api", "//api", false),
            ("/api", "*", false),
            ("/api/", "/api", true),
            ("/a/b", "/a/b/c", true),
            ("/a/b", "/a", false),
            ("/%20", "/%20/x", true),
            ("/", "/anything", true),
            ("/", "*", true),
        ] {
            assert_eq!(PathPrefix::parse(prefix).unwrap().matches(path), expected, "{prefix} on {path}");
        }
    }

    #[test]
    fn refuses_what_could_be_read_in_two_ways() {
        let longest = format!("/{}", "a".repeat(255));
        assert!(PathPrefix::parse(&longest).is_ok());
        for (text, error) in [
            ("", PathError::Relative),
            ("api", PathError::Relative),
            ("*", PathError::Relative),
            ("http://x/", PathError::Relative),
            (&format!("{longest}a"), PathError::TooLong),
            ("/a?b", PathError::Query),
            ("/a#b", PathError::Query),
            ("/a b", PathError::Character),
            ("/a\r\n", PathError::Character),
            ("/a\0", PathError::Character),
            ("/caf\u{e9}", PathError::Character),
            ("//", PathError::EmptySegment),
            ("//a", PathError::EmptySegment),
            ("/a//b", PathError::EmptySegment),
            ("/a//", PathError::EmptySegment),
            ("/.", PathError::DotSegment),
            ("/a/..", PathError::DotSegment),
            ("/a/../", PathError::DotSegment),
            ("/./a", PathError::DotSegment),
        ] {
            assert_eq!(PathPrefix::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn shows_itself_without_the_slash_at_the_end() {
        for (text, shown, behind) in [("/", "/", ""), ("/api/", "/api", "/api"), ("/a/b", "/a/b", "/a/b")] {
            let prefix = PathPrefix::parse(text).unwrap();
            assert_eq!((prefix.to_string().as_str(), prefix.as_str()), (shown, behind));
            assert_eq!(prefix.is_root(), text == "/");
        }
    }

    proptest! {
        #[test]
        fn what_parses_matches_itself_and_reads_back(text in "/?([a./?#% é]{0,3}/?){0,3}", more in "[a/?]{0,3}") {
            if let Ok(prefix) = PathPrefix::parse(&text) {
                prop_assert!(prefix.matches(&text));
                prop_assert_eq!(&PathPrefix::parse(&prefix.to_string()).unwrap(), &prefix);
                let path = format!("{}/{more}", prefix.as_str());
                prop_assert!(prefix.matches(&path));
            }
        }

        /// A path below a prefix is below each prefix of that one, by whole segments.
        #[test]
        fn of_two_that_match_the_longer_is_the_greater(a in "(/[ab]){0,3}", b in "(/[ab]){0,3}", path in "(/[ab]){0,4}") {
            let parse = |text: &str| PathPrefix::parse(if text.is_empty() { "/" } else { text }).unwrap();
            let (a, b) = (parse(&a), parse(&b));
            if a.matches(&path) && b.matches(&path) {
                prop_assert_eq!(a.cmp(&b), a.as_str().len().cmp(&b.as_str().len()));
            }
        }
    }
}
