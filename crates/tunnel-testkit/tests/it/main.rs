//! Client and server together, in one process, over real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what can't be unwrapped is the failure, and tasks end with the test's runtime"
)]

mod addresses;
mod admin;
mod caps;
mod crowd;
mod domains;
mod http2;
mod https;
mod instruments;
mod lanes;
mod load;
mod logins;
mod names;
mod places;
mod policies;
mod pool;
mod proxy_protocol;
mod reconfigure;
mod replace;
mod rights;
mod scrape;
mod shaping;
mod steering;
mod succession;
mod support;
mod tcp;
mod twins;
mod udp;
mod upstreams;
mod web;
