//! What a server remembers: tokens and their rights, reservations, usage, an audit log; in SQLite.
//!
//! It decides nothing about tunnels: the engine asks it who a token is and what it may publish, and tells it what was
//! used. It never listens on anything.
//!
//! ```text
//!   Store ──► a queue ──► writer: one thread, one connection ──► store.db ◄── another process
//!     ▲                     │ after each write, and when another wrote              │
//!     │                     ▼                                                       │
//!   Authenticator ◄──── View (memory, swapped whole) ◄── looker: reads ◄────────────┘
//! ```
//!
//! Whoever asks on behalf of a visitor or a client reads memory only. Two processes may have one store open: a server
//! and the commands beside it, or two servers while one takes over from the other.

mod error;
mod store;

mod looker;
mod schema;
mod view;
mod writer;

mod audit;
mod import;
mod reservations;
mod rights_form;
mod time;
mod tokens;
mod usage;

pub use audit::{Actor, AuditEntry};
pub use error::{OpenError, WriteError};
pub use reservations::Reservation;
pub use store::Store;
pub use tokens::{Change, Changes, NewToken, TokenRecord};
pub use usage::{Month, MonthUsage, Usage};
