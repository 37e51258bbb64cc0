//! What tests of client and server together are made of.
//!
//! A [`Site`] is what survives a server: key, tokens, open sockets. It starts [`TestServer`]s and begins clients.
//! A [`FaultRelay`] stands between the two and fails on purpose. [`Upstream`]s behave and misbehave.
//!
//! ```text
//!   visitor (raw sockets) ──► TestServer ◄── FaultRelay ◄── Client ──► Upstream
//! ```
//!
//! The integration tests of the engines live in this crate's `tests/`, as one binary.

mod server;

mod faults;
mod upstream;
mod visitor;

pub use faults::FaultRelay;
pub use server::{Site, TestServer};
pub use upstream::{Upstream, find_head_end, header};
pub use visitor::{Answer, Visitor};
