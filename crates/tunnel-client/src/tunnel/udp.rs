//! Saying which UDP port to publish, and where its datagrams go.

use std::sync::Arc;

use tunnel_protocol::{BindSpec, Policy, bind::PortSpec};

use super::{
    Tunnel,
    table::{Handler, Table},
};
use crate::{
    BindError, UpstreamError,
    forward::{Upstream, udp},
};

/// A UDP tunnel to be; made by [`Client::udp`](crate::Client::udp).
#[must_use = "nothing is published before `forward`"]
pub struct UdpTunnel {
    table: Arc<Table>,
    spec: PortSpec,
    policies: Vec<Policy>,
}

impl UdpTunnel {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self { table, spec: PortSpec::default(), policies: Vec::new() }
    }

    /// The server's port that visitors send to. Default: the server chooses one.
    pub fn remote_port(mut self, port: u16) -> Self {
        self.spec.port = Some(port);
        self
    }

    /// With no `remote_port`: a port that an earlier run was given, taken again if it is free.
    pub fn preferred(mut self, port: u16) -> Self {
        self.spec.preferred = Some(port);
        self
    }

    /// Publishes it, and passes each visitor address's datagrams on to `upstream` (a port, or `host:port`) from a
    /// socket of its own. Waits, through reconnects if need be, until it is online.
    ///
    /// Datagrams are lost rather than late, as on any network: while the client is away, and when there are more than
    /// the path to the server carries. There is no `listen`: a program that wants the datagrams itself opens a socket
    /// and forwards to it.
    ///
    /// # Errors
    /// [`BindError`]; nothing stays published then.
    ///
    /// # Cancel safety
    /// Dropping the future takes the tunnel back.
    pub async fn forward<U>(self, upstream: U) -> Result<Tunnel, BindError>
    where
        U: TryInto<Upstream>,
        U::Error: Into<UpstreamError>,
    {
        let upstream = upstream.try_into().map_err(Into::into)?;
        if !udp::is_possible(&upstream) {
            return Err(UpstreamError::NotForUdp.into());
        }
        let (spec, handler) = (BindSpec::Udp(self.spec), Handler::Datagrams(upstream));
        Tunnel::new(self.table.add(spec, self.policies, handler)?).online().await
    }
}

impl std::fmt::Debug for UdpTunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdpTunnel").field("spec", &self.spec).finish_non_exhaustive()
    }
}
