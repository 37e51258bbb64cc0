//! Several clients of one token at one name: who fits in with whom.
//!
//! Visitors don't choose the client that serves them, so all must treat them alike.

use std::sync::Arc;

use tunnel_protocol::bind::UpstreamProtocol;

use super::{Claim, ClaimError, Holder, Member};
use crate::policy::Policies;

/// What all clients of a pool have in common.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Terms {
    /// Whether the name is to be shared at all.
    pub(super) pool: bool,
    pub(super) protocol: UpstreamProtocol,
    pub(super) policies: Arc<Policies>,
}

/// Whether `member` is what the claiming client was before it restarted.
///
/// Clients of one installation may form a pool, each with an upstream of its own; otherwise an installation is one
/// client.
pub(super) fn is_former_self(member: &Member, terms: &Terms, claim: &Claim) -> bool {
    let is_pool = terms.pool || claim.pool;
    member.holder.instance == claim.session.instance && (!is_pool || member.target.upstream == claim.upstream)
}

/// Whether `member` and what is claimed are two of a pool, whosever they are.
pub(super) fn is_beside(member: &Member, terms: &Terms, claim: &Claim) -> bool {
    terms.pool && claim.pool && member.target.upstream != claim.upstream
}

/// Whether `member` goes on beside `newcomer`.
pub(super) fn is_shared(member: &Member, terms: &Terms, newcomer: &Member, its: &Terms) -> bool {
    let is_former_self = member.holder.instance == newcomer.holder.instance
        && member.target.upstream == newcomer.target.upstream;
    terms.pool && terms == its && !is_former_self
}

/// Whether a client that wants `its` terms can join those that have `terms`, of which `other` is one.
pub(super) fn check(what: &str, terms: &Terms, its: &Terms, other: &Holder) -> Result<(), ClaimError> {
    let machine = &other.machine;
    let message = if !its.pool {
        format!("{what} is served by a pool of your clients, one on `{machine}`; join it with `--pool`")
    } else if !terms.pool {
        format!(
            "{what} is in use by your client on `{machine}`, which doesn't share it; start it with `--pool` there too"
        )
    } else if terms.protocol != its.protocol {
        format!(
            "{what} is served by a pool with another `--upstream-protocol`; give all its clients the same one"
        )
    } else if terms.policies != its.policies {
        format!(
            "{what} is served by a pool with other policies (logins, networks, headers, limits); give all its clients \
             the same ones"
        )
    } else {
        return Ok(());
    };
    Err(ClaimError::Mismatch(message))
}
