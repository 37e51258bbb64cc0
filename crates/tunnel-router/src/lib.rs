//! Which tunnel a visitor's bytes belong to, decided once and strictly.
//!
//! Two readers of one fact is how tunnels leak into each other, so every name is read into one
//! canonical [`Hostname`], and whatever two readers could take differently is refused here, before
//! a laxer parser sees it. Nothing in this crate waits, dials, tells the time or rolls dice.
//!
//! ```text
//!   visitor's first bytes ─► sniff::http1 ─┐
//!                            sniff::tls  ──┴─► Hostname ─► HostTable::lookup ─► the tunnel
//!   the body after a head ─► sniff::chunked ─► where the next head starts
//! ```

pub mod hostname;
pub mod label;
pub mod label_pattern;
pub mod path;
pub mod pattern;
pub mod table;

pub mod sniff;

pub use hostname::{Hostname, HostnameError};
pub use label::{Label, LabelError};
pub use label_pattern::{LabelPattern, LabelPatternError};
pub use path::{PathError, PathPrefix};
pub use pattern::{HostPattern, PatternError};
pub use sniff::Sniff;
pub use sniff::chunked::{ChunkError, ChunkedBody, Progress, may_trail};
pub use sniff::http1::{
    Framing, Head, HeadError, HeadLimits, HeadReader, Method, Refusal, Version, parse_head,
};
pub use sniff::tls::{ClientHello, HelloError, HelloReader, parse_client_hello};
pub use table::HostTable;
