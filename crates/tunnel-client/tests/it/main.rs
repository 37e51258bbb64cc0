//! The client against a server made of the wire alone: what it says, what it bears, and what it never does.

#![cfg(test)]

mod support;

#[cfg(feature = "axum")]
mod axum;
mod drain;
mod heartbeat;
mod hostile;
mod lanes;
mod login;
mod reconnect;
mod streams;
mod tunnels;
mod twins;
