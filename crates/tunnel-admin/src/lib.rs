//! Seeing and steering a running server: the admin API, its dashboard, metrics and health.
//!
//! It is handed the server's handle and whatever keeps the tokens, and owns nothing but its own connections. What it
//! shows is what the engine says; it never touches a visitor's bytes.
//!
//! ```text
//!   tunnel status, ps, kick … ──► socket (the owner's alone) ───────────┐
//!                                                                       ├─► api ──► ServerHandle, Tokens
//!   browser, scripts, Prometheus ──► port ──► guard (sign_in) ──────────┘    │
//!                                       └───► dashboard                    live (history, requests)
//! ```
//!
//! The socket is the root of trust: whoever may open it may do everything, and lets others in.

mod server;

mod door;
mod sign_in;

mod api;
mod dashboard;
mod metrics;
mod problem;

mod live;

mod model;
mod stamp;
mod tokens;

#[cfg(unix)]
mod client;

pub use door::web::{WebDoor, WebDoorError};
pub use model::{
    ActorRecord, AuditEntry, AuditList, AuditPage, CloseTunnel, Credentials, IssuedToken, Kick, NamedTunnel,
    NewToken, Request, RequestList, Reservation, ReservationList, RightsChanges, Rotation, Session,
    SessionList, SettingsFault, SignInLink, SignInMethods, SignedIn, Status, Token, TokenInFull, TokenList,
    TokenRights, Tunnel, TunnelList, TunnelMember, Usage, UsageList, Visitor, VisitorList,
};
pub use problem::Problem;
pub use server::{About, AdminServer};
pub use sign_in::{AdminToken, Password, SecretError, Secrets};
pub use stamp::Stamp;
pub use tokens::{Actor, Deed, NoTokens, Tokens, TokensError};

#[cfg(unix)]
pub use client::{AdminClient, ClientError, segment};
#[cfg(unix)]
pub use door::socket::{AdminSocket, SocketError, Takeover};
