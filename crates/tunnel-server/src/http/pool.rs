//! Idle streams (placeholder the HTTP half replaces).

/// Idle streams.
#[derive(Debug, Default)]
pub(crate) struct Pool;

impl Pool {
    pub(crate) fn clear(&self) {}
}
