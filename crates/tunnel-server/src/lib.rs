//! The server side of tunnel, as a library: sessions in, tunnels leased, visitors dispatched.
//!
//! Two halves share three things. `control` takes clients, leases them names and writes the **routes**; `ingress`
//! takes visitors, reads the routes and dispatches each to a stream. Both emit **events** and count **metrics**.
//! A visitor never waits for control, and one visitor never for another.
//!
//! ```text
//!   clients ──► control ──► registry ──► routes ──► ingress ◄── visitors
//!                  │                        │           │
//!               session ◄──── endpoint ◄────┘        dispatch
//!                  └───────────── lanes ◄───────────────┘
//! ```
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tunnel_server::{AllowAll, Config, ControlTls, Hostname, Listener, Server};
//!
//! let server = Server::builder(Config::new(Hostname::parse("localhost")?))
//!     .control(Listener::bind("127.0.0.1:4444".parse()?)?, ControlTls::Plaintext)
//!     .web(Listener::bind("127.0.0.1:8080".parse()?)?)
//!     .authenticator(AllowAll)
//!     .build()?;
//! server.run(async { tokio::time::sleep(std::time::Duration::from_secs(60)).await }).await;
//! # Ok(()) }
//! ```
//!
//! That one is for a machine of one's own: it lets everyone in, in plaintext. A server for others has a key and tokens,
//! which the program keeps, as the library writes no files:
//!
//! ```no_run
//! # async fn example(random: [u8; 32]) -> Result<(), Box<dyn std::error::Error>> {
//! use tunnel_server::{
//!     Config, ControlIdentity, ControlTls, Hostname, Listener, Server, StoredToken, Token, TokenList, acceptor,
//!     generate_self_signed,
//! };
//!
//! // Once: keep both texts, since tokens pin this key.
//! let keys = generate_self_signed(&[])?;
//! let identity = ControlIdentity::from_pem(keys.cert_pem.as_bytes(), keys.key_pem.as_bytes())?;
//! // For each client, of 32 random bytes: it gets the token, and the server keeps what is stored of it.
//! let token = Token::new(random, Some(*identity.pin().as_bytes()));
//! let stored = StoredToken::new(token.id(), "laptop", token.hash(), Default::default());
//! println!("{}", token.expose());
//!
//! let mut config = Config::new(Hostname::parse("tunnels.example.com")?);
//! config.tcp_ports = Some(20_000..=29_999);
//! let server = Server::builder(config)
//!     .control(Listener::bind("[::]:4444".parse()?)?, ControlTls::Tls(acceptor(&identity)?))
//!     .web(Listener::bind("[::]:80".parse()?)?)
//!     .authenticator(TokenList(vec![stored]))
//!     .build()?;
//! // Watches and steers it while it runs.
//! let handle = server.handle();
//! # drop(handle);
//! server.run(std::future::pending()).await;
//! # Ok(()) }
//! ```

mod config;
mod contact;
mod reconfigure;
mod server;
mod succession;

mod auth;
mod control;
mod rights;
mod throttle;

mod endpoint;
mod registry;
mod routes;
mod session;
mod target;

mod dispatch;
mod http;
mod ingress;
mod policy;
mod stream;

mod account;
mod addresses;
mod allowance;
mod calendar;
mod census;
mod events;
mod ids;
mod load;
mod metrics;
mod places;
mod rates;
mod records;
mod settings;
mod shared;
mod snapshot;
mod steer;
mod tally;
mod totals;
mod trace;
mod usage;
mod waiting;

pub use auth::{AllowAll, Authenticator, Identity, Login, StoredToken, TokenList, check, token_id};
pub use calendar::{Month, ParseMonthError};
pub use census::TunnelState;
pub use config::{Config, ConfigError, Limits, Rate, Timeouts};
pub use contact::{Contact, ContactError};
pub use events::Event;
pub use http::DevServer;
pub use load::MemoryGauge;
pub use reconfigure::ReconfigureError;
pub use records::{RequestLine, RequestRecord};
pub use registry::SavedLease;
pub use rights::{
    ParsePortsError, ParseReservedError, PortSet, Reservations, ReservedName, Rights, TunnelKind, UnknownKind,
};
pub use server::{Server, ServerBuilder, ServerHandle, StartError};
pub use settings::SettingsFault;
pub use snapshot::{MemberInfo, SessionInfo, Snapshot, TunnelInfo};
pub use steer::{NoSuchSession, NoSuchTunnel};
pub use succession::{Estate, PortSocket};
pub use tally::{Traffic, UpstreamState};
pub use totals::Totals;
pub use trace::Trace;
pub use usage::Usage;

// What a program needs to make a server, its key and its tokens, so that it can depend on this crate alone.
pub use tunnel_io::{BoxedIo, Io};
pub use tunnel_protocol::{
    InstanceId, RequestId, SessionId, Token, TokenHash, TokenId, TunnelId, login::Credential,
};
pub use tunnel_router::{HostPattern, Hostname, HostnameError, Label, LabelPattern};
pub use tunnel_transport::{
    Acceptor, CertError, CertStore, ControlIdentity, ControlTls, Listener, Pin, ServerKeyPair,
    WebCertificate, WebTls, acceptor, generate_self_signed,
};
