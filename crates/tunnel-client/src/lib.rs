//! The client side of tunnel, as a library: connect, stay connected, hand out tunnels.
//!
//! ```text
//!   visitor ──► server ══ lanes (TCP · TLS · yamux) ══► Client ─┬─ forward("localhost:3000") ──► upstream
//!                 ▲                                       │     └─ listen() ─ accept() ──► your code
//!                 └──── control stream: bind, heartbeat ──┘
//! ```
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tunnel_client::{Client, Token};
//!
//! let token: Token = "tnl_…".parse()?;
//! let client = Client::builder("vps.example.com:4444").token(token).connect().await?;
//!
//! // A local web server, for the world:
//! let web = client.http().subdomain("myapp").forward("localhost:3000").await?;
//! println!("{}", web.url());
//!
//! // Or visitors as they come, without a local port:
//! let mut ssh = client.tcp().remote_port(25432).listen().await?;
//! let mut conn = ssh.accept().await?;
//! println!("hello, {:?}", conn.visitor());
//! tokio::io::copy(&mut &b"go away\n"[..], &mut conn).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A tunnel is a handle: it stays published until it is dropped, whatever becomes of the connection meanwhile. The
//! client reconnects for as long as it lives, asks for the same names, and moves to another session before it
//! leaves one that the server wants to end. Only a refusal that trying again can't cure ends it; see
//! [`Client::closed`].
//!
//! The server is not trusted with anything but visitors: no message can make the client dial anywhere but the
//! upstreams it was given, and everything a server may ask for has a bound ([`Limits`], [`Timeouts`]).
//!
//! With the feature `axum`, a [`Listener`] is an `axum::serve::Listener`. With the feature `files`, a directory can be
//! an upstream: `client.http().forward("./site")`.

mod builder;
mod client;

mod tunnel;

mod session;

mod forward;
mod policies;

mod shared;
mod text;

mod config;
mod error;
mod event;
mod status;

pub use builder::Builder;
pub use client::Client;
pub use config::{Limits, Timeouts};
pub use error::{BindError, ClientError, ConnectError, LoginError, TunnelEnd, Unreachable, UpstreamError};
pub use event::{Event, Events};
pub use forward::{Upstream, UpstreamProtocol};
pub use policies::{HostHeader, POLICIES_MAX, Policies, PolicyError, ProxyProtocol};
pub use status::{Phase, SessionStatus, Status, TunnelStatus};
#[cfg(feature = "axum")]
pub use tunnel::Visitor;
pub use tunnel::{Conn, HttpTunnel, Listener, TcpTunnel, TlsTunnel, Tunnel, TunnelState, UdpTunnel};

// What a program needs to describe a client, so that it can depend on this crate alone.
pub use tunnel_io::BoxedIo;
pub use tunnel_protocol::{
    Code, InstanceId, Refusal, RequestId, SessionId, StreamKind, Token, TunnelId,
    bind::PublicAddress,
    control::RequestReport,
    policy::{FieldEdit, FieldError},
};
pub use tunnel_transport::{BoxFuture, Dial, DialError, Pin, Proxy, Trust, UpstreamTrust, Way};
