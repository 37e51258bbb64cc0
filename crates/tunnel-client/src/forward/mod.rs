//! Connecting visitors to upstreams.

pub(crate) mod tcp;
mod upstream;

pub use upstream::Upstream;
