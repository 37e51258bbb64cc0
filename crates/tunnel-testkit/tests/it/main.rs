//! Client and server together, in one process, over real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what can't be unwrapped is the failure, and tasks end with the test's runtime"
)]

mod crowd;
mod names;
mod support;
mod tcp;
mod udp;
mod upstreams;
mod web;
