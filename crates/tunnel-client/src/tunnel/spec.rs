//! Saying what to publish, and what becomes of its visitors.

use std::sync::Arc;

use tokio::sync::mpsc;
use tunnel_protocol::{
    BindSpec, Code, Refusal,
    bind::{HttpSpec, PortSpec, TlsSpec},
    limits::LABEL_MAX,
};

use super::{
    Listener, Tunnel,
    table::{Former, Handler, Table},
};
use crate::{
    BindError, Policies, UpstreamError,
    forward::{Target, Upstream, UpstreamProtocol},
};

/// A web tunnel to be; made by [`Client::http`](crate::Client::http).
#[derive(Debug)]
#[must_use = "nothing is published before `forward` or `listen`"]
pub struct HttpTunnel {
    wish: Wish,
    spec: HttpSpec,
    protocol: UpstreamProtocol,
}

/// A TCP tunnel to be; made by [`Client::tcp`](crate::Client::tcp).
#[derive(Debug)]
#[must_use = "nothing is published before `forward` or `listen`"]
pub struct TcpTunnel {
    wish: Wish,
    spec: PortSpec,
}

impl HttpTunnel {
    pub(crate) fn new(table: Arc<Table>, backlog: usize) -> Self {
        let protocol = UpstreamProtocol::default();
        Self { wish: Wish::new(table, backlog), spec: HttpSpec::default(), protocol }
    }

    /// The name below the server's domain. Default: the server chooses a random one.
    pub fn subdomain(mut self, subdomain: impl Into<String>) -> Self {
        self.spec.host.subdomain = Some(subdomain.into());
        self
    }

    /// A whole host name of your own that leads to the server, or a wildcard: `app.example.com`, `*.dev.example.com`.
    /// The token needs a right to it.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.spec.host.domain = Some(domain.into());
        self
    }

    /// Only requests for this path and what is below it: `/api`. Default: all. Tunnels of one token may share a host
    /// by paths; the longest that fits wins. The upstream gets paths as they are.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.spec.path = Some(path.into());
        self
    }

    /// Whether other clients with the same token may serve the name as well, each with the same path, policies and
    /// upstream protocol. Each visitor goes to the one that has the fewest. Default: no.
    pub fn pool(mut self, pool: bool) -> Self {
        self.spec.pool = pool;
        self
    }

    /// With no `subdomain`: a random name that an earlier run was given, taken again if it is free.
    pub fn preferred(mut self, subdomain: impl Into<String>) -> Self {
        self.spec.host.preferred = Some(subdomain.into());
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

    /// What the upstream speaks. Default: HTTP/1.1. Visitors may speak any version with either.
    pub fn upstream_protocol(mut self, protocol: UpstreamProtocol) -> Self {
        self.protocol = protocol;
        self.spec.upstream_protocol = protocol.on_the_wire();
        self
    }

    /// Publishes it, and connects visitors to `upstream` (a port, `host:port`, `http://host:port`,
    /// `https://host:port`, `unix:/path`), one connection for each stream; or, if it is a directory, shows them its
    /// files.
    ///
    /// Waits, through reconnects if need be, until it is online.
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
        let upstream = self.protocol.fit(upstream.try_into().map_err(Into::into)?)?;
        let (wish, spec) = self.into_parts();
        wish.forward(spec, upstream).await
    }

    /// Publishes it, and hands visitors' streams out, on which they speak HTTP/1.1, or HTTP/2 if that was said to be
    /// the protocol. Waits like [`HttpTunnel::forward`].
    ///
    /// # Errors
    /// [`BindError`]; nothing stays published then.
    ///
    /// # Cancel safety
    /// Dropping the future takes the tunnel back.
    pub async fn listen(self) -> Result<Listener, BindError> {
        let (wish, spec) = self.into_parts();
        wish.listen(spec).await
    }

    fn into_parts(self) -> (Wish, BindSpec) {
        (self.wish, BindSpec::Http(self.spec))
    }
}

impl TcpTunnel {
    pub(crate) fn new(table: Arc<Table>, backlog: usize) -> Self {
        Self { wish: Wish::new(table, backlog), spec: PortSpec::default() }
    }

    /// The server's port that visitors connect to. Default: the server chooses one.
    pub fn remote_port(mut self, port: u16) -> Self {
        self.spec.port = Some(port);
        self
    }

    /// Whether other clients with the same token may serve the port as well, each with the same policies. Each visitor
    /// goes to the one that has the fewest. Default: no.
    pub fn pool(mut self, pool: bool) -> Self {
        self.spec.pool = pool;
        self
    }

    /// With no `remote_port`: a port that an earlier run was given, taken again if it is free.
    pub fn preferred(mut self, port: u16) -> Self {
        self.spec.preferred = Some(port);
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

    /// Publishes it, and connects each visitor to `upstream` (a port, `host:port`, `unix:/path`, or
    /// `https://host:port` for TLS towards it). Waits, through reconnects if need be, until it is online.
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
        let (wish, spec) = self.into_parts();
        wish.forward(spec, upstream.try_into().map_err(Into::into)?).await
    }

    /// Publishes it, and hands visitors' connections out. Waits like [`TcpTunnel::forward`].
    ///
    /// # Errors
    /// [`BindError`]; nothing stays published then.
    ///
    /// # Cancel safety
    /// Dropping the future takes the tunnel back.
    pub async fn listen(self) -> Result<Listener, BindError> {
        let (wish, spec) = self.into_parts();
        wish.listen(spec).await
    }

    fn into_parts(self) -> (Wish, BindSpec) {
        (self.wish, BindSpec::Tcp(self.spec))
    }
}

/// What all kinds of tunnels to be have in common.
pub(super) struct Wish {
    table: Arc<Table>,
    backlog: usize,
    pub(super) policies: Policies,
    pub(super) former: Option<Former>,
}

impl Wish {
    pub(super) fn new(table: Arc<Table>, backlog: usize) -> Self {
        Self { table, backlog, policies: Policies::new(), former: None }
    }

    pub(super) async fn forward(self, spec: BindSpec, upstream: Upstream) -> Result<Tunnel, BindError> {
        check(&spec)?;
        let policies = self.policies.for_tunnel(&spec, Some(&upstream), self.table.token());
        #[cfg(feature = "files")]
        if let (BindSpec::Http(_), Some(directory)) = (&spec, upstream.as_directory()) {
            refuse_proxy_protocol(&self.policies)?;
            let (queue, visitors) = mpsc::channel(self.backlog);
            let serving = crate::forward::files::serve(directory, visitors)
                .map_err(|error| UpstreamError::Directory(directory.to_owned(), error.kind()))?;
            let tunnel = Tunnel::new(self.table.add(
                spec,
                policies,
                Handler::Listen(queue, Some(upstream)),
                self.former,
            )?);
            return tunnel.served_by(serving).online().await;
        }
        let target = Target::of(&spec, upstream)?.introducing(self.policies.writes_proxy_protocol());
        Tunnel::new(self.table.add(spec, policies, Handler::Forward(target), self.former)?).online().await
    }

    pub(super) async fn listen(self, spec: BindSpec) -> Result<Listener, BindError> {
        check(&spec)?;
        refuse_proxy_protocol(&self.policies)?;
        let policies = self.policies.for_tunnel(&spec, None, self.table.token());
        let (queue, waiting) = mpsc::channel(self.backlog);
        let tunnel =
            Tunnel::new(self.table.add(spec, policies, Handler::Listen(queue, None), self.former)?)
                .online()
                .await?;
        Ok(Listener::new(tunnel, waiting))
    }
}

/// Longer than any domain or path that a server takes.
const NAME_MAX: usize = 256;

/// Where there is no connection to an upstream, there is nobody to tell who visits; and who asked for it relies on it.
pub(super) fn refuse_proxy_protocol(policies: &Policies) -> Result<(), UpstreamError> {
    match policies.writes_proxy_protocol() {
        Some(_) => Err(UpstreamError::NoProxyProtocol),
        None => Ok(()),
    }
}

/// The server judges names; but it is not sent what no control frame may hold.
fn check(spec: &BindSpec) -> Result<(), BindError> {
    let host = match spec {
        BindSpec::Http(HttpSpec { host, .. }) | BindSpec::Tls(TlsSpec { host, .. }) => host,
        _ => return Ok(()),
    };
    if [&host.subdomain, &host.preferred].into_iter().flatten().any(|name| name.len() > LABEL_MAX) {
        let message = format!("a subdomain has at most {LABEL_MAX} characters; choose a shorter one");
        return Err(BindError::Refused(Refusal::permanent(Code::NameInvalid, message)));
    }
    let path = match spec {
        BindSpec::Http(HttpSpec { path, .. }) => path.as_deref(),
        _ => None,
    };
    if host.domain.as_deref().into_iter().chain(path).any(|name| name.len() > NAME_MAX) {
        let message = format!("a domain or path has at most {NAME_MAX} characters; choose a shorter one");
        return Err(BindError::Refused(Refusal::permanent(Code::NameInvalid, message)));
    }
    Ok(())
}

impl std::fmt::Debug for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wish").field("backlog", &self.backlog).finish_non_exhaustive()
    }
}
