//! What a tunnel's owner wants done with its visitors, ready to be done.
//!
//! A list of policies is compiled once, at the bind, and refused there if it makes no sense; visitors meet the
//! compiled form only.

mod admit;
mod compile;
mod words;

mod fields;
mod host;
mod login;
pub(crate) mod lookalikes;
mod networks;
mod rate;

use std::time::Duration;

pub(crate) use self::{
    admit::{Denied, open},
    fields::Fields,
    host::{HostRewrite, Public},
    login::{Logins, NoLogin},
    networks::Networks,
    rate::RateLimit,
};

/// The policies of one tunnel. Two are equal if the same was asked for, whatever they have counted since and however
/// much time is left.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    /// What was asked for, but for `expire`, whose rest changes all the time.
    asked: Vec<tunnel_protocol::Policy>,
    /// From where visitors are let in.
    pub(crate) networks: Networks,
    /// How often they may come.
    pub(crate) rate: Option<RateLimit>,
    /// The logins of which web visitors must have one.
    pub(crate) logins: Option<Logins>,
    /// The host a web upstream is to see.
    pub(crate) host: Option<HostRewrite>,
    /// What becomes of requests' fields.
    pub(crate) request_fields: Fields,
    /// What becomes of answers' fields.
    pub(crate) response_fields: Fields,
    /// Bytes a second that all visitors together may move, each way.
    pub(crate) bandwidth: Option<u64>,
    /// Whether answers are compressed.
    pub(crate) compress: bool,
    /// Whether each visitor connection has streams of its own.
    pub(crate) separate_streams: bool,
    /// How long the tunnel lives from its bind.
    pub(crate) expire: Option<Duration>,
}

impl Policies {
    /// Whether an upstream sees other fields than the visitor sent because of them.
    pub(crate) fn change_requests(&self) -> bool {
        self.logins.is_some() || self.host.is_some() || !self.request_fields.is_empty()
    }
}

impl PartialEq for Policies {
    fn eq(&self, other: &Self) -> bool {
        self.asked == other.asked
    }
}
