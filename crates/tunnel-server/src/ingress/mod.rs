//! Where visitors come in: one file per kind of door.

pub(crate) mod http;
pub(crate) mod https;
mod kept;
pub(crate) mod port;
mod proxy;
pub(crate) mod tcp;
pub(crate) mod udp;
