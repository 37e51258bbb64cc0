//! Why a scenario failed: a sentence, made of whatever error there was and what was being done.

use std::{error::Error, fmt};

/// Why a scenario failed.
pub(crate) struct Fault(String);

/// What a scenario and its steps give.
pub(crate) type Outcome<T = ()> = Result<T, Fault>;

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl<E: Error> From<E> for Fault {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        Self(message)
    }
}

/// `fn main` and `expect` show errors by `Debug`; it is the sentence too.
impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says what was being done when it failed.
pub(crate) trait Told<T> {
    /// Puts `what` before the reason.
    fn told(self, what: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: Into<Fault>> Told<T> for Result<T, E> {
    fn told(self, what: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| Fault(format!("{what}: {}", error.into())))
    }
}

/// Fails the scenario with a sentence unless something holds.
macro_rules! check {
    ($holds:expr, $($sentence:tt)+) => {
        if !$holds {
            return Err($crate::harness::Fault::new(format!($($sentence)+)));
        }
    };
}
pub(crate) use check;
