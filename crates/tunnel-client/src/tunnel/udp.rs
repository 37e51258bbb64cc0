//! Saying which UDP port to publish, and where its datagrams go.

use std::sync::Arc;

use tunnel_protocol::{BindSpec, bind::PortSpec};

use super::{
    Tunnel,
    spec::refuse_proxy_protocol,
    table::{Former, Handler, Table},
};
use crate::{
    BindError, Policies, UpstreamError,
    forward::{Upstream, udp},
};

/// A UDP tunnel to be; made by [`Client::udp`](crate::Client::udp).
#[must_use = "nothing is published before `forward`"]
pub struct UdpTunnel {
    table: Arc<Table>,
    spec: PortSpec,
    policies: Policies,
    former: Option<Former>,
}

impl UdpTunnel {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self { table, spec: PortSpec::default(), policies: Policies::new(), former: None }
    }

    /// The server's port that visitors send to. Default: the server chooses one.
    pub fn remote_port(mut self, port: u16) -> Self {
        self.spec.port = Some(port);
        self
    }

    /// Whether other clients with the same token may serve the port as well, each with the same policies. Each flow
    /// goes to the one that has the fewest, and stays there. Default: no.
    pub fn pool(mut self, pool: bool) -> Self {
        self.spec.pool = pool;
        self
    }

    /// With no `remote_port`: a port that an earlier run was given, taken again if it is free.
    pub fn preferred(mut self, port: u16) -> Self {
        self.spec.preferred = Some(port);
        self
    }

    /// Whether nobody is told of the port: the server gives it to anyone as soon as this client doesn't serve it, and
    /// keeps it for nobody. Default: no.
    pub fn fleeting(mut self, fleeting: bool) -> Self {
        self.spec.fleeting = fleeting;
        self
    }

    /// In the place of `former`, a tunnel of the same client, if it has the same name (one of the server's choice is
    /// kept): no visitor is without the one or the other. Once this one is online, `former` has ended with
    /// [`TunnelEnd::Replaced`](crate::TunnelEnd::Replaced), and serves visitors under way for as long as its handle
    /// lives. If this one is refused, `former` stays as it was.
    pub fn replacing(mut self, former: &Tunnel) -> Self {
        self.former = Some(former.as_former());
        self
    }

    /// What becomes of its visitors. Replaces what was said before.
    pub fn policies(mut self, policies: Policies) -> Self {
        self.policies = policies;
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
        refuse_proxy_protocol(&self.policies)?;
        let spec = BindSpec::Udp(self.spec);
        let policies = self.policies.for_tunnel(&spec, Some(&upstream), self.table.token());
        Tunnel::new(self.table.add(spec, policies, Handler::Datagrams(upstream), self.former)?).online().await
    }
}

impl std::fmt::Debug for UdpTunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdpTunnel").field("spec", &self.spec).finish_non_exhaustive()
    }
}
