//! From what was typed to what the engines are told: one way, once, before anything runs.

pub(crate) mod client;
pub(crate) mod policies;
mod protection;
mod proxy;
pub(crate) mod rights;
pub(crate) mod server;
pub(crate) mod values;
