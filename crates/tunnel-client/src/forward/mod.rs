//! Connecting visitors to upstreams: what people write, what is made of it once, and what each visitor gets of it.

mod protocol;
mod upstream;

mod target;

mod connection;
mod dial;

pub(crate) mod udp;

#[cfg(feature = "files")]
pub(crate) mod files;

pub(crate) use self::{
    connection::{Connection, Guarded, relay},
    dial::Failure,
    target::Target,
};
pub use self::{protocol::UpstreamProtocol, upstream::Upstream};
