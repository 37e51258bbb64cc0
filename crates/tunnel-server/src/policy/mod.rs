//! What a tunnel's owner wants done with its visitors, ready to be done.
//!
//! A list of policies is compiled once, at the bind, and refused there if it makes no sense; visitors meet the
//! compiled form only.

use tunnel_protocol::{BindSpec, Code, Policy, Refusal};

/// The policies of one tunnel.
#[derive(Debug, Default)]
pub(crate) struct Policies {}

impl Policies {
    /// Of the list a client sent for a tunnel of this kind.
    ///
    /// # Errors
    /// The refusal of the bind: a policy that isn't known, can't be read, or isn't for this kind of tunnel.
    pub(crate) fn compile(policies: Vec<Policy>, _spec: &BindSpec) -> Result<Self, Refusal> {
        if policies.is_empty() {
            return Ok(Self::default());
        }
        Err(Refusal::permanent(
            Code::NotSupported,
            "this server doesn't know that policy: upgrade the server",
        ))
    }
}
