//! Lanes from outside: two ends over a pipe or over TCP, or one end against a raw socket.

#![expect(clippy::unwrap_used, reason = "in tests the failure is the message")]

mod support;

mod streams;

mod lost;
mod places;
mod receive;
mod saturation;
mod turns;
mod watched;

mod hostile;
