//! Client and server together, in one process, over real sockets.

mod crowd;
mod names;
mod support;
mod tcp;
mod web;
