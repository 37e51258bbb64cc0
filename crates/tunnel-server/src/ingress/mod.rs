//! Where visitors come in: one file per kind of door.

pub(crate) mod http;
pub(crate) mod port;
pub(crate) mod tcp;
pub(crate) mod udp;
