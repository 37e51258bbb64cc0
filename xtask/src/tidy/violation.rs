//! What a check reports: one line that says what, where, why, and what to do, so that nobody has to open the checker
//! to learn what it wants.

use std::fmt;

/// One broken rule at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// A path from the repository's root, with `:line` where there is one.
    pub(crate) place: String,
    /// What was found there.
    pub(crate) what: String,
    /// The rule it breaks.
    pub(crate) why: &'static str,
    /// The usual way to mend it.
    pub(crate) mend: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, what, why, mend } = self;
        write!(f, "{place}: {what} (rule: {why}) -> {mend}")
    }
}
