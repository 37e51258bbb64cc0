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
pub use tunnel_protocol::{InstanceId, RequestId, SessionId, TokenId, TunnelId};
pub use tunnel_router::{HostPattern, Hostname, HostnameError, Label, LabelPattern};
pub use tunnel_transport::{CertStore, ControlTls, Listener, WebCertificate, WebTls};
pub use usage::Usage;
