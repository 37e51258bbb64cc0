//! From what was typed to what the engines are told: one way, once, before anything runs.

pub(crate) mod client;
mod proxy;
pub(crate) mod server;
pub(crate) mod values;
