//! Where requests come in: the socket of this machine's operator, and a port for browsers and programs.

pub(crate) mod connection;
mod crowd;
pub(crate) mod guard;
mod headers;
#[cfg(unix)]
pub(crate) mod socket;
pub(crate) mod web;
