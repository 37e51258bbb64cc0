//! Client and server together, in one process, over real sockets.

mod names;
mod support;
mod tcp;
