//! Lanes from outside: two ends over a pipe or over TCP, or one end against a raw socket.

mod support;

mod streams;

mod budget;
mod lost;
mod saturation;

mod hostile;
