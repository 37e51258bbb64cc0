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
//! # In a program that does other things, too
//!
//! Every method but [`Client::run`] takes `&self`: an `Arc<Client>` is shared by all tasks that want it. Tunnels come
//! and go, and change, while it runs; what happens to them comes as [`Event`]s, which nobody has to read.
//!
//! ```no_run
//! # async fn example(client: tunnel_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tunnel_client::{BindError, Code, Event};
//!
//! // One more tunnel. It is refused when the name is somebody else's, say; the client and the others go on.
//! let blog = match client.http().subdomain("blog").forward(4000).await {
//!     Err(BindError::Refused(refusal)) if refusal.code == Code::NameTaken => client.http().forward(4000).await?,
//!     other => other?,
//! };
//! // Another upstream under the same name, and no visitor finds none. Then the former handle may go.
//! let blog = client.http().subdomain("blog").replacing(&blog).forward(4001).await?;
//!
//! let mut events = client.events();
//! let mut changes = blog.watch();
//! let end = loop {
//!     tokio::select! {
//!         Some(event) = events.next() => match event {
//!             Event::Reconnecting { reason, retry_in, .. } => eprintln!("{reason}; again in {retry_in:?}"),
//!             Event::UpstreamFailed { message, .. } => eprintln!("{message}"),
//!             _ => {}
//!         },
//!         Ok(()) = changes.changed() => eprintln!("the blog is {:?}", *changes.borrow_and_update()),
//!         // Only this one tunnel is over: `blog.closed()` would say why.
//!         // No event says that the client itself is, as it is when its token was revoked.
//!         end = client.closed() => break end,
//!         _ = tokio::signal::ctrl_c() => {
//!             // Visitors under way have ten seconds; the names are free at once.
//!             client.drain(Duration::from_secs(10)).await;
//!             break Ok(());
//!         }
//!     }
//! };
//! # end?;
//! # Ok(())
//! # }
//! ```
//!
//! The text of an error is for people, and names the flags of the `tunnel` program where one of them is the cure.
//! Programs go by its variant, or by the [`Code`] of a [`Refusal`], and may say it in their own words.
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

// What a program needs to describe a client and to tell its errors apart, so that it can depend on this crate alone.
pub use tunnel_io::{BoxedIo, Io};
pub use tunnel_protocol::{
    Code, FrameError, InstanceId, Refusal, RequestId, SessionId, StreamKind, Token, TokenId, TunnelId,
    Version,
    bind::PublicAddress,
    control::RequestReport,
    ids::ParseIdError,
    policy::{FieldEdit, FieldError},
    token::ParseTokenError,
};
pub use tunnel_transport::{
    AddressError, BoxFuture, CertError, Dial, DialError, ParseProxyError, Pin, Proxy, ProxyProblem,
    ServerAddress, Stage, TlsProblem, Trust, UpstreamTrust, Way,
};
