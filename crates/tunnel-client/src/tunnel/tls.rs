//! Saying which host's TLS connections to publish, and who ends their TLS.

use std::sync::Arc;

use tunnel_protocol::{BindSpec, bind::TlsSpec};

use super::{Listener, Tunnel, spec::Wish, table::Table};
use crate::{BindError, Policies, UpstreamError, forward::Upstream};

/// A TLS tunnel to be; made by [`Client::tls`](crate::Client::tls).
///
/// The server reads the host that visitors ask for (SNI) and passes everything on as it came. The TLS ends at the
/// upstream, whose certificate visitors see; nobody in between can read along, the server included.
#[derive(Debug)]
#[must_use = "nothing is published before `forward` or `listen`"]
pub struct TlsTunnel {
    wish: Wish,
    spec: TlsSpec,
}

impl TlsTunnel {
    pub(crate) fn new(table: Arc<Table>, backlog: usize) -> Self {
        Self { wish: Wish::new(table, backlog), spec: TlsSpec::default() }
    }

    /// The name below the server's domain. Default: the server chooses a random one.
    pub fn subdomain(mut self, subdomain: impl Into<String>) -> Self {
        self.spec.host.subdomain = Some(subdomain.into());
        self
    }

    /// A whole host name of your own that leads to the server, or a wildcard: `db.example.com`, `*.dev.example.com`.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.spec.host.domain = Some(domain.into());
        self
    }

    /// With neither: a random name that an earlier run was given, taken again if it is free.
    pub fn preferred(mut self, subdomain: impl Into<String>) -> Self {
        self.spec.host.preferred = Some(subdomain.into());
        self
    }

    /// Whether other clients with the same token may serve the name as well. Default: no.
    pub fn pool(mut self, pool: bool) -> Self {
        self.spec.pool = pool;
        self
    }

    /// In the place of `former`, a tunnel of the same client, if it has the same name (one of the server's choice is
    /// kept): no visitor is without the one or the other. Once this one is online, `former` has ended with
    /// [`TunnelEnd::Replaced`](crate::TunnelEnd::Replaced), and serves visitors under way for as long as its handle
    /// lives. If this one is refused, `former` stays as it was.
    pub fn replacing(mut self, former: &Tunnel) -> Self {
        self.wish.former = Some(former.as_former());
        self
    }

    /// What becomes of its visitors. Replaces what was said before.
    pub fn policies(mut self, policies: Policies) -> Self {
        self.wish.policies = policies;
        self
    }

    /// Publishes it, and connects each visitor to `upstream`: a port, `host:port` or `unix:/path`, where TLS is
    /// spoken. `https://host:port` means the same as `host:port`: the TLS there is the visitor's. Waits, through
    /// reconnects if need be, until it is online.
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
        self.wish.forward(BindSpec::Tls(self.spec), upstream.without_tls()).await
    }

    /// Publishes it, and hands visitors' connections out, encrypted as they came. Waits like [`TlsTunnel::forward`].
    ///
    /// # Errors
    /// [`BindError`]; nothing stays published then.
    ///
    /// # Cancel safety
    /// Dropping the future takes the tunnel back.
    pub async fn listen(self) -> Result<Listener, BindError> {
        self.wish.listen(BindSpec::Tls(self.spec)).await
    }
}
