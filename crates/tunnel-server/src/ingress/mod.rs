//! Where visitors come in: one file per kind of door.

pub(crate) mod http;
pub(crate) mod https;
pub(crate) mod port;
mod proxy;
pub(crate) mod tcp;
pub(crate) mod udp;
