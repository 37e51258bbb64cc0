//! Saying what to publish, and what becomes of its visitors.

use std::sync::Arc;

use tokio::sync::mpsc;
use tunnel_protocol::{
    BindSpec, Code, Policy, Refusal,
    bind::{HttpSpec, PortSpec},
    limits::LABEL_MAX,
};

use super::{
    Listener, Tunnel,
    table::{Handler, Table},
};
use crate::{
    BindError, UpstreamError,
    forward::{Target, Upstream},
};

/// A web tunnel to be; made by [`Client::http`](crate::Client::http).
#[derive(Debug)]
#[must_use = "nothing is published before `forward` or `listen`"]
pub struct HttpTunnel {
    wish: Wish,
    spec: HttpSpec,
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
        Self { wish: Wish::new(table, backlog), spec: HttpSpec::default() }
    }

    /// The name below the server's domain. Default: the server chooses a random one.
    pub fn subdomain(mut self, subdomain: impl Into<String>) -> Self {
        self.spec.host.subdomain = Some(subdomain.into());
        self
    }

    /// With no `subdomain`: a random name that an earlier run was given, taken again if it is free.
    pub fn preferred(mut self, subdomain: impl Into<String>) -> Self {
        self.spec.host.preferred = Some(subdomain.into());
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
        let (wish, spec) = self.into_parts();
        wish.forward(spec, upstream.try_into().map_err(Into::into)?).await
    }

    /// Publishes it, and hands visitors' streams out, on which they speak HTTP/1.1. Waits like
    /// [`HttpTunnel::forward`].
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

    /// With no `remote_port`: a port that an earlier run was given, taken again if it is free.
    pub fn preferred(mut self, port: u16) -> Self {
        self.spec.preferred = Some(port);
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
struct Wish {
    table: Arc<Table>,
    backlog: usize,
    policies: Vec<Policy>,
}

impl Wish {
    fn new(table: Arc<Table>, backlog: usize) -> Self {
        Self { table, backlog, policies: Vec::new() }
    }

    async fn forward(self, spec: BindSpec, upstream: Upstream) -> Result<Tunnel, BindError> {
        check(&spec)?;
        #[cfg(feature = "files")]
        if let (BindSpec::Http(_), Some(directory)) = (&spec, upstream.as_directory()) {
            let (queue, visitors) = mpsc::channel(self.backlog);
            let serving = crate::forward::files::serve(directory, visitors)
                .map_err(|error| UpstreamError::Directory(directory.to_owned(), error.kind()))?;
            let tunnel =
                Tunnel::new(self.table.add(spec, self.policies, Handler::Listen(queue, Some(upstream)))?);
            return tunnel.served_by(serving).online().await;
        }
        Tunnel::new(self.table.add(spec, self.policies, Handler::Forward(Target::new(upstream)?))?)
            .online()
            .await
    }

    async fn listen(self, spec: BindSpec) -> Result<Listener, BindError> {
        check(&spec)?;
        let (queue, waiting) = mpsc::channel(self.backlog);
        let tunnel =
            Tunnel::new(self.table.add(spec, self.policies, Handler::Listen(queue, None))?).online().await?;
        Ok(Listener::new(tunnel, waiting))
    }
}

/// The server judges names; but it is not sent what no control frame may hold.
fn check(spec: &BindSpec) -> Result<(), BindError> {
    let host = match spec {
        BindSpec::Http(HttpSpec { host, .. }) => host,
        _ => return Ok(()),
    };
    if [&host.subdomain, &host.preferred].into_iter().flatten().any(|name| name.len() > LABEL_MAX) {
        let message = format!("a subdomain has at most {LABEL_MAX} characters; choose a shorter one");
        return Err(BindError::Refused(Refusal::permanent(Code::NameInvalid, message)));
    }
    Ok(())
}

impl std::fmt::Debug for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wish").field("backlog", &self.backlog).finish_non_exhaustive()
    }
}
