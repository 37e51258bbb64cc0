//! From the flags of `tunnel http`, `tcp`, `udp`, `client` and `login`, and the saved logins, to what a client is told.

use std::{
    io::{BufRead, IsTerminal},
    path::{Path, PathBuf},
    time::Duration,
};

use tunnel_client::{
    Pin, Policies, PolicyError, Proxy, PublicAddress, Token, Trust, Upstream, UpstreamError,
    UpstreamProtocol, UpstreamTrust,
};
use tunnel_protocol::token::ParseTokenError;
use tunnel_transport::{ParseProxyError, ServerAddress};

use crate::{
    args::{
        Certificates, ClientArgs, Command, Connection, Credentials, DoctorArgs, HttpArgs, LoginArgs, Output,
        Protocol, Route, TcpArgs, TlsArgs, UdpArgs, WebName,
    },
    doctor::Patient,
    resolve::proxy,
    state::{
        files::{self, FileError},
        logins::{Logins, SavedLogin},
        places,
    },
};

/// Why a client can't even be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// No server was named, now or ever.
    #[error("no server is known; name one with --server HOST:PORT, or save one: tunnel login HOST:PORT")]
    NoServer,
    /// The token is none.
    #[error("{0}")]
    Token(#[from] ParseTokenError),
    /// A token was expected on standard input.
    #[error("no token was given; use --token-file FILE, TUNNEL_TOKEN, or type it when asked")]
    NoToken,
    /// The proxy is none; the text says where it was given.
    #[error("{0} can't be used: {1}; correct it, or use `--proxy none`")]
    Proxy(&'static str, ParseProxyError),
    /// What becomes of visitors.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The upstream can't speak what it is said to speak.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
}

/// All that a command which publishes one tunnel is told before it runs.
#[derive(Debug)]
pub(crate) struct ClientPlan {
    pub(crate) session: SessionPlan,
    pub(crate) tunnel: TunnelPlan,
    /// What the person should know first.
    pub(crate) warnings: Vec<String>,
}

/// What is the same for all tunnels of a client.
#[derive(Debug)]
pub(crate) struct SessionPlan {
    pub(crate) target: Target,
    pub(crate) output: Output,
    pub(crate) verbose: bool,
    pub(crate) grace: Duration,
    /// `None`: there is no place for state, and the client starts anew each time.
    pub(crate) state: Option<PathBuf>,
}

/// One tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TunnelPlan {
    pub(crate) publish: Publish,
    pub(crate) policies: Policies,
    pub(crate) upstream: Upstream,
    /// What it speaks, if it is a web service.
    pub(crate) protocol: UpstreamProtocol,
}

/// A server, how to know it and how to be known there.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) server: ServerAddress,
    pub(crate) token: Option<Token>,
    /// `None`: by the token's pin, or the system's issuers.
    pub(crate) trust: Option<Trust>,
    pub(crate) proxy: Option<Proxy>,
}

/// What to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Publish {
    /// A web name.
    Http(WebName),
    /// A port.
    Tcp { remote_port: Option<u16>, pool: bool },
    /// A name for TLS connections.
    Tls { subdomain: Option<String>, domain: Option<String>, pool: bool },
    /// A port for datagrams.
    Udp { remote_port: Option<u16>, pool: bool },
}

/// All `tunnel login` needs.
#[derive(Debug)]
pub(crate) struct LoginPlan {
    pub(crate) target: Target,
    pub(crate) save: SavedLogin,
    pub(crate) check: bool,
    pub(crate) state: PathBuf,
    pub(crate) warnings: Vec<String>,
}

impl TunnelPlan {
    /// Why this tunnel can't be published beside the one called `name` of the same file, in words.
    pub(crate) fn clash(&self, name: &str, other: &Self) -> Option<String> {
        if !self.publish.is_for_the_same_as(&other.publish) {
            return None;
        }
        let ((what, shares), (_, other_shares)) = (self.publish.wants(), other.publish.wants());
        let what = what?;
        if !(shares && other_shares) {
            return Some(format!("[tunnel.{name}] has {what}, too; give one another, or both `pool = true`"));
        }
        let is_double = self.upstream.to_string() == other.upstream.to_string();
        is_double
            .then(|| format!("[tunnel.{name}] shares {what} for the same upstream; leave one of them out"))
    }

    /// Whether both are content to share a name, and treat its visitors alike.
    pub(crate) fn shares_with(&self, other: &Self) -> bool {
        let is_pool = self.publish.wants().1 && other.publish.wants().1;
        is_pool && self.policies == other.policies && self.protocol == other.protocol
    }

    /// Why the directory that is to be shown can't be, if there is one.
    pub(crate) fn missing(&self) -> Option<UpstreamError> {
        let directory = self.upstream.as_directory()?;
        let error = std::fs::read_dir(directory).err()?;
        Some(UpstreamError::Directory(directory.to_owned(), error.kind()))
    }
}

impl Publish {
    /// Whether this and another tunnel want the same, by name.
    pub(crate) fn is_for_the_same_as(&self, other: &Self) -> bool {
        let (wanted, _) = self.wants();
        wanted.is_some() && wanted == other.wants().0
    }

    /// Whether this one, published at `address`, has what another tunnel wants. A name below the server's domain can be
    /// asked for in two ways, and which domain that is only the server knows.
    pub(crate) fn has(&self, address: Option<&PublicAddress>, wanted: &Self) -> bool {
        let given = address.into_iter().flat_map(|address| self.given(address));
        self.is_for_the_same_as(wanted) || given.into_iter().any(|given| given.is_for_the_same_as(wanted))
    }

    /// The same, asking by name for what the server gave, in each way there is.
    fn given(&self, address: &PublicAddress) -> Vec<Self> {
        match (self, address) {
            (Self::Http(name), PublicAddress::Http { host, subdomain, .. }) => hosts(host, subdomain)
                .map(|(subdomain, domain)| Self::Http(WebName { subdomain, domain, ..name.clone() }))
                .into(),
            (Self::Tls { pool, .. }, PublicAddress::Tls { host, subdomain, .. }) => hosts(host, subdomain)
                .map(|(subdomain, domain)| Self::Tls { subdomain, domain, pool: *pool })
                .into(),
            (Self::Tcp { pool, .. }, PublicAddress::Tcp { port, .. }) => {
                vec![Self::Tcp { remote_port: Some(*port), pool: *pool }]
            }
            (Self::Udp { pool, .. }, PublicAddress::Udp { port, .. }) => {
                vec![Self::Udp { remote_port: Some(*port), pool: *pool }]
            }
            _ => Vec::new(),
        }
    }

    /// What it wants by name, and whether others may have it as well.
    fn wants(&self) -> (Option<String>, bool) {
        let host = |subdomain: &Option<String>, domain: &Option<String>| {
            let lower = |name: &String| name.to_ascii_lowercase();
            let subdomain = subdomain.as_ref().map(|name| format!("the subdomain `{}`", lower(name)));
            subdomain.or(domain.as_ref().map(|name| format!("the domain `{}`", lower(name))))
        };
        match self {
            Self::Http(WebName { subdomain, domain, path, pool }) => {
                let below = path.as_ref().map(|path| format!(" with the path `{path}`")).unwrap_or_default();
                (host(subdomain, domain).map(|host| host + &below), *pool)
            }
            // The https port has one tunnel for a host, of either kind; that of visitors without TLS isn't asked for.
            Self::Tls { subdomain, domain, pool } => {
                (host(subdomain, domain).map(|host| format!("{host} for TLS")), *pool)
            }
            Self::Tcp { remote_port, pool } => {
                (remote_port.map(|port| format!("the TCP port {port}")), *pool)
            }
            Self::Udp { remote_port, pool } => {
                (remote_port.map(|port| format!("the UDP port {port}")), *pool)
            }
        }
    }
}

/// A host as a subdomain, if it is one, and as a domain.
fn hosts(host: &str, subdomain: &Option<String>) -> [(Option<String>, Option<String>); 2] {
    [(subdomain.clone(), None), (None, Some(host.to_owned()))]
}

impl Command {
    /// The tunnel that a command publishes, and how it reaches the server; `None` if it publishes none.
    pub(crate) fn publishes(
        self,
        warnings: &mut Vec<String>,
    ) -> Option<Result<(TunnelPlan, Connection), ResolveError>> {
        Some(match self {
            Self::Http(args) => args.tunnel(warnings),
            Self::Tcp(args) => args.tunnel(),
            Self::Tls(args) => args.tunnel(),
            Self::Udp(args) => args.tunnel(),
            Self::Client(args) => args.tunnel(warnings),
            _ => return None,
        })
    }
}

impl ClientPlan {
    /// What a command that publishes a tunnel is told; `None` if it publishes none.
    pub(crate) fn of(command: Command) -> Option<Result<Self, ResolveError>> {
        let mut warnings = Vec::new();
        let published = command.publishes(&mut warnings)?;
        Some(published.and_then(|(tunnel, connection)| {
            let session = connection.resolve(&mut warnings)?;
            Ok(Self { session, tunnel, warnings })
        }))
    }
}

type Published = Result<(TunnelPlan, Connection), ResolveError>;

impl HttpArgs {
    fn tunnel(self, warnings: &mut Vec<String>) -> Published {
        let protocol = UpstreamProtocol::from(self.upstream_protocol);
        let upstream = self.certificates.apply(protocol.fit(self.upstream)?)?;
        let policies = self.policies.resolve(warnings)?;
        let publish = Publish::Http(self.name);
        Ok((TunnelPlan { publish, policies, upstream, protocol }, self.connection))
    }
}

impl ClientArgs {
    fn tunnel(self, warnings: &mut Vec<String>) -> Published {
        let protocol = UpstreamProtocol::from(self.upstream_protocol);
        let upstream = self.certificates.apply(protocol.fit(self.local)?)?;
        let policies = self.policies.resolve(warnings)?;
        let publish = Publish::Http(self.name);
        Ok((TunnelPlan { publish, policies, upstream, protocol }, self.connection))
    }
}

/// Visitors who don't speak HTTP can be shown no files.
fn for_streams(upstream: &Upstream) -> Result<(), UpstreamError> {
    if upstream.as_directory().is_some() { Err(UpstreamError::NotForTcp) } else { Ok(()) }
}

/// Datagrams go to an address, and as they are.
fn for_datagrams(upstream: &Upstream) -> Result<(), UpstreamError> {
    let is_plain = upstream.address().is_some() && !upstream.to_string().contains("://");
    if is_plain { Ok(()) } else { Err(UpstreamError::NotForUdp) }
}

impl TcpArgs {
    fn tunnel(self) -> Published {
        for_streams(&self.upstream)?;
        let upstream = self.certificates.apply(self.upstream)?;
        let policies = self.policies.resolve()?;
        let publish = Publish::Tcp { remote_port: self.remote_port, pool: self.pool };
        let protocol = UpstreamProtocol::default();
        Ok((TunnelPlan { publish, policies, upstream, protocol }, self.connection))
    }
}

impl TlsArgs {
    fn tunnel(self) -> Published {
        for_streams(&self.upstream)?;
        let policies = self.policies.resolve()?;
        let publish = Publish::Tls { subdomain: self.subdomain, domain: self.domain, pool: self.pool };
        let protocol = UpstreamProtocol::default();
        Ok((TunnelPlan { publish, policies, upstream: self.upstream, protocol }, self.connection))
    }
}

impl UdpArgs {
    fn tunnel(self) -> Published {
        for_datagrams(&self.upstream)?;
        let policies = self.policies.resolve()?;
        let publish = Publish::Udp { remote_port: self.remote_port, pool: self.pool };
        let protocol = UpstreamProtocol::default();
        Ok((TunnelPlan { publish, policies, upstream: self.upstream, protocol }, self.connection))
    }
}

impl Certificates {
    /// Other kinds of upstreams have no certificates, and a variable may be set for all.
    fn apply(self, upstream: Upstream) -> Result<Upstream, ResolveError> {
        let trust = match (self.upstream_ca, self.upstream_insecure) {
            // The stricter of the two.
            (Some(file), _) => UpstreamTrust::CaFile(files::read_named(&file, "--upstream-ca")?),
            (None, true) => UpstreamTrust::Anyone,
            (None, false) => return Ok(upstream),
        };
        Ok(upstream.clone().with_trust(trust).unwrap_or(upstream))
    }
}

impl From<Protocol> for UpstreamProtocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http1 => Self::Http1,
            Protocol::H2c => Self::H2c,
            Protocol::H2 => Self::H2,
        }
    }
}

impl LoginArgs {
    /// Asks for the token on standard input if it is nowhere else.
    pub(crate) fn resolve(self) -> Result<LoginPlan, ResolveError> {
        let mut warnings = Vec::new();
        let credentials = self.credentials;
        let token = match given_token(&credentials, &mut warnings)? {
            Some(token) => token,
            None => token_from_input()?,
        };
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let save = SavedLogin {
            server: self.server.to_string(),
            token: token.expose(),
            ca_file: credentials.ca_file.as_ref().map(absolute),
            plaintext: credentials.plaintext,
        };
        let trust = trust(credentials.plaintext, credentials.ca_file.as_deref(), &mut warnings)?;
        let proxy = proxy::choose(&self.route, &self.server, &mut warnings)?;
        let target = Target { server: self.server, token: Some(token), trust, proxy };
        let state = places::client_state(self.state_dir)?;
        Ok(LoginPlan { target, save, check: !self.no_check, state, warnings })
    }
}

impl DoctorArgs {
    /// A server that can't be told apart from none is a finding, not an error.
    pub(crate) fn resolve(self) -> Result<(Patient, Vec<String>), ResolveError> {
        let mut warnings = Vec::new();
        let logins = match places::client_state(self.state_dir) {
            Ok(state) => Logins::load(&state)?,
            Err(_) => Logins::default(),
        };
        let target = target(self.server, &self.credentials, &self.route, &logins, &mut warnings);
        let target = match target {
            Err(error @ ResolveError::NoServer) => Err(error.to_string()),
            target => Ok(target?),
        };
        Ok((Patient { target, upstream: self.upstream }, warnings))
    }
}

impl Target {
    /// What the client library makes of it: by the pin in the token, unless something else was said.
    pub(crate) fn effective_trust(&self) -> Trust {
        let pinned = || Some(Trust::Pinned(Pin::from_bytes(self.token.as_ref()?.pin()?)));
        self.trust.clone().or_else(pinned).unwrap_or(Trust::System)
    }
}

impl Connection {
    /// What can be said of it without a login that was saved, and without asking anybody.
    ///
    /// # Errors
    /// As [`Connection::resolve`]'s.
    pub(crate) fn check(self) -> Result<(), ResolveError> {
        let (credentials, mut warnings) = (self.credentials, Vec::new());
        if credentials.token_file.as_deref() != Some(Path::new("-")) {
            given_token(&credentials, &mut warnings)?;
        }
        trust(credentials.plaintext, credentials.ca_file.as_deref(), &mut warnings)?;
        if let Some(server) = &self.server {
            proxy::choose(&self.route, server, &mut warnings)?;
        }
        Ok(())
    }

    pub(crate) fn resolve(self, warnings: &mut Vec<String>) -> Result<SessionPlan, ResolveError> {
        let Self { file: _, server, credentials, route, output, verbose, grace, state_dir } = self;
        let state = match places::client_state(state_dir) {
            Ok(state) => Some(state),
            Err(error) => {
                warnings.push(error.to_string());
                None
            }
        };
        let logins = state.as_deref().map(Logins::load).transpose()?.unwrap_or_default();
        if credentials.token_was_typed {
            warnings.push(
                "a token on the command line can be seen by others on this machine; use --token-file, TUNNEL_TOKEN or \
                 `tunnel login`"
                    .into(),
            );
        }
        let target = target(server, &credentials, &route, &logins, warnings)?;
        Ok(SessionPlan { target, output, verbose, grace, state })
    }
}

/// Typed and environment first, then what is saved for that server; with no server named, the newest login's.
fn target(
    server: Option<ServerAddress>,
    credentials: &Credentials,
    route: &Route,
    logins: &Logins,
    warnings: &mut Vec<String>,
) -> Result<Target, ResolveError> {
    let (server, saved) = match server {
        Some(server) => (server.clone(), logins.of(&server.to_string())),
        None => {
            let newest = logins.newest().ok_or(ResolveError::NoServer)?;
            (newest.server.parse().map_err(|_| ResolveError::NoServer)?, Some(newest))
        }
    };
    let given = given_token(credentials, warnings)?;
    // How a saved server is known belongs to the saved token, not to another one.
    let saved = saved.filter(|_| given.is_none());
    let token = match saved {
        Some(saved) => Some(saved.token.parse()?),
        None => given,
    };
    let plaintext = credentials.plaintext
        || (credentials.ca_file.is_none() && saved.is_some_and(|saved| saved.plaintext));
    let ca_file = credentials.ca_file.as_deref().or(saved.and_then(|saved| saved.ca_file.as_deref()));
    let trust = trust(plaintext, ca_file, warnings)?;
    let proxy = proxy::choose(route, &server, warnings)?;
    Ok(Target { server, token, trust, proxy })
}

fn trust(
    plaintext: bool,
    ca_file: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<Option<Trust>, ResolveError> {
    if plaintext {
        warnings.push(
            "--plaintext: whoever is between here and the server can read and change what visitors send"
                .into(),
        );
        return Ok(Some(Trust::Plaintext));
    }
    Ok(ca_file.map(|path| files::read_named(path, "--ca-file")).transpose()?.map(Trust::CaFile))
}

fn given_token(credentials: &Credentials, warnings: &mut Vec<String>) -> Result<Option<Token>, ResolveError> {
    if let Some(token) = &credentials.token {
        return Ok(Some(token.expose().parse()?));
    }
    let Some(path) = &credentials.token_file else { return Ok(None) };
    if path.as_os_str() == "-" {
        return token_from_input().map(Some);
    }
    if let Some(mode) = files::open_to_others(path) {
        warnings.push(format!(
            "others on this machine can read {} (mode {mode:03o}); run: chmod 600 {}",
            path.display(),
            path.display()
        ));
    }
    let bytes = files::read_named(path, "--token-file")?;
    let text = std::str::from_utf8(&bytes).map_err(|_| ParseTokenError::NotAToken);
    let token = text.and_then(str::parse);
    token.map(Some).map_err(|error| FileError::content(path, error.to_string()).into())
}

fn token_from_input() -> Result<Token, ResolveError> {
    let input = std::io::stdin();
    if input.is_terminal() {
        use std::io::Write;
        // If it can't be asked for, it can still be typed.
        let _ = write!(std::io::stderr(), "Token: ");
    }
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(|_| ResolveError::NoToken)?;
    if line.trim().is_empty() { Err(ResolveError::NoToken) } else { Ok(line.parse()?) }
}

#[cfg(test)]
mod tests;
