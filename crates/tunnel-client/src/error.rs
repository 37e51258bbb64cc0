//! What can go wrong, said so that a person knows what to do next: one enum per verb.

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tunnel_protocol::{Code, FrameError, Refusal, Version};
use tunnel_transport::{AddressError, CertError, DialError};

/// Why [`Builder::connect`](crate::Builder::connect) gave no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server's address can't be one.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// What the client was told to trust can't be used.
    #[error(transparent)]
    Trust(#[from] CertError),
    /// The operating system gave no random numbers, so the client can't name itself.
    #[error("the operating system gave no random numbers; give the client an instance id")]
    Random(#[source] io::Error),
    /// No login within [`Builder::connect_timeout`](crate::Builder::connect_timeout).
    #[error("not connected within {} s ({last}); check that the server runs and can be reached", after.as_secs_f32())]
    Timeout {
        /// The time given.
        after: Duration,
        /// What the last attempt failed at.
        last: String,
    },
    /// The client has ended before its first login.
    #[error(transparent)]
    Ended(#[from] ClientError),
}

/// Why a client has ended for good.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A login failed in a way that trying again can't cure.
    #[error(transparent)]
    Login(#[from] Arc<LoginError>),
    /// The server ended the session and doesn't want the client back.
    #[error("the server ended the session ({}): {}", .0.code, .0.message)]
    SentAway(Refusal),
    /// The client was dropped, or the runtime it ran on has stopped.
    #[error("the client was dropped; keep it for as long as its tunnels are wanted")]
    Dropped,
}

/// Why one attempt to log in failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// No connection to the server.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke during the login.
    #[error("the connection broke during the login; the server may be restarting")]
    Io(#[source] io::Error),
    /// The answer is no login answer.
    #[error("the answer is not a tunnel server's; check that the address is its control port")]
    NotAServer(#[source] FrameError),
    /// The server took the connection and then said nothing.
    #[error("no answer to the login within {} s; the server may be overloaded or not a tunnel server", .0.as_secs_f32())]
    Silent(Duration),
    /// The server chose a version this client didn't offer.
    #[error("the server answered with protocol version {}, which this client doesn't speak; upgrade the client", .0.0)]
    Version(Version),
    /// The server said no.
    #[error("the server refused the login ({}): {}", .0.code, .0.message)]
    Refused(Refusal),
}

impl LoginError {
    /// Whether trying again is pointless until a person changes something.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_permanent(),
            Self::Version(_) => true,
            Self::Refused(refusal) => !refusal.is_passing(),
            Self::Io(_) | Self::NotAServer(_) | Self::Silent(_) => false,
        }
    }

    /// Whether the server itself said that trying again is pointless: unlike a failed dial, this can't be the work
    /// of a captive portal or a wrong DNS answer.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Version(_) | Self::Refused(_)) && self.is_permanent()
    }

    /// How long the server asked to wait before the next attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after_ms.map(Duration::from_millis),
            _ => None,
        }
    }
}

/// Why a tunnel could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The server can't or won't publish it.
    #[error("the server refused the tunnel ({}): {}", .0.code, .0.message)]
    Refused(Refusal),
    /// The place to forward to makes no sense.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The client already has as many tunnels as one session may.
    #[error("the client has {0} tunnels already, which is the most one session may have; close one first")]
    TooMany(usize),
    /// The client ended before the tunnel was online.
    #[error("the client has ended; connect again")]
    Ended(#[source] Option<ClientError>),
}

/// Why a text names no upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// It isn't of any known form.
    #[error(
        "`{0}` is no upstream; write a port (`3000`), `host:port`, `http://host:port`, `https://host:port`, \
         `unix:/path` or a directory (`./site`)"
    )]
    Invalid(String),
    /// A host alone.
    #[error("`{0}` has no port; write `{0}:3000`")]
    NoPort(String),
    /// A port behind a colon, and nothing before it.
    #[error("`:{0}` has no host; write `{0}`, or `localhost:{0}`")]
    NoHost(u16),
    /// A number where a port should be.
    #[error("`{0}` is no port; ports are from 1 to 65535")]
    Port(String),
    /// A known form that can't be forwarded to here.
    #[error("{0} upstreams are not supported here; write a port (`3000`), `host:port` or `http://host:port`")]
    NotSupported(&'static str),
    /// A way to trust, for an upstream without certificates.
    #[error("only https:// upstreams have certificates; write `https://host:port`, or leave the option out")]
    NoTls,
    /// What an `https://` upstream's certificate is to be checked by can't be used.
    #[error("the upstream's certificate can't be checked: {0}")]
    Trust(String),
    /// A directory, for visitors who don't speak HTTP.
    #[error("a directory is for web visitors; publish it with `tunnel http`")]
    NotForTcp,
    /// Something that takes no datagrams.
    #[error("only a port or `host:port` takes datagrams; write `27015` or `localhost:27015`")]
    NotForUdp,
    /// It can't speak the protocol that it is said to speak.
    #[error("{0}")]
    Protocol(&'static str),
    /// A PROXY header, where there is no connection that it could come first on.
    #[error(
        "the PROXY protocol needs a connection to the local service: it isn't for UDP, directories and listeners"
    )]
    NoProxyProtocol,
    /// A directory that isn't there or can't be read.
    #[error("{}", no_directory(.0, *.1))]
    Directory(PathBuf, io::ErrorKind),
    /// Visitors choose paths, so an upstream has none.
    #[error("an upstream has no path (`{0}`); leave it out, visitors' paths are passed on as they are")]
    Path(String),
}

fn no_directory(path: &Path, why: io::ErrorKind) -> String {
    match why {
        io::ErrorKind::NotFound => format!("there is no directory {}", path.display()),
        why => format!("cannot show {}: {why}", path.display()),
    }
}

impl From<Infallible> for UpstreamError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Why there is no connection to an upstream now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Unreachable {
    /// What a visitor would be told.
    pub code: Code,
    /// What happened, and what to do: one line.
    pub message: String,
}

/// Why a tunnel is over.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelEnd {
    /// Its owner closed it.
    #[error("the tunnel was closed")]
    Closed,
    /// Another tunnel of the client took its place. Visitors under way are served as long as the handle lives.
    #[error("another tunnel took its place")]
    Replaced,
    /// The server took it down, or did not give it back after a reconnect.
    #[error("the server took the tunnel down ({}): {}", .0.code, .0.message)]
    Refused(Refusal),
    /// The client it belongs to has ended; with the reason, unless it was asked to.
    #[error("the tunnel ended together with its client")]
    Client(#[source] Option<ClientError>),
}
