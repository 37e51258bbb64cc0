//! Web visitors.

pub(crate) mod pool;
