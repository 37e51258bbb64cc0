//! Who is let in by address, whatever the visitor speaks.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tunnel_protocol::{Code, StreamKind};

use super::Policies;
use crate::{
    dispatch::{self, DispatchError, Visit},
    endpoint::{Endpoint, Target},
    stream::VisitorStream,
};

/// How often a visitor is checked anew because other policies came while it waited.
const CHANGES: usize = 3;

/// Why an address isn't let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// It isn't one that the owner lets in.
    #[error("the tunnel doesn't take visitors from this address")]
    Address,
    /// It has come too often; this long until it may come again.
    #[error("this address has come as often as it may")]
    Rate(Duration),
}

impl Denied {
    /// The reason, as it is counted.
    pub(crate) fn code(self) -> Code {
        match self {
            Self::Address => Code::AddressNotAllowed,
            Self::Rate(_) => Code::RateLimited,
        }
    }
}

impl Policies {
    /// Lets a visitor in, and counts it.
    ///
    /// # Errors
    /// [`Denied`]
    pub(crate) fn admit(&self, visitor: IpAddr) -> Result<(), Denied> {
        if !self.networks.admit(visitor) {
            return Err(Denied::Address);
        }
        self.rate.as_ref().map_or(Ok(()), |rate| rate.take(visitor).map_err(Denied::Rate))
    }
}

/// Opens a stream for a visitor that was let in by these policies, and checks it again should others come meanwhile. `avoid`
/// has just refused the visitor.
///
/// # Errors
/// [`DispatchError`]; nothing was sent to the upstream then.
///
/// # Cancel safety
/// Cancel safe: a stream that was opened is reset.
pub(crate) async fn open(
    endpoint: &Arc<Endpoint>,
    kind: StreamKind,
    visit: Visit,
    mut checked: Arc<Policies>,
    avoid: Option<&Arc<Target>>,
) -> Result<VisitorStream, DispatchError> {
    for _ in 0..CHANGES {
        match dispatch::open(endpoint, kind, visit, Some(&checked), avoid).await {
            Err(DispatchError::PoliciesChanged) => {}
            opened => return opened,
        }
        checked = endpoint.known_policies();
        checked.admit(visit.visitor.ip()).map_err(DispatchError::Denied)?;
    }
    Err(DispatchError::PoliciesChanged)
}
