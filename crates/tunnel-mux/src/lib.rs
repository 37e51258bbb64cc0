//! Lanes: one connection carrying many streams, so that a client behind NAT needs one socket for
//! all its visitors.
//!
//! ```text
//!   Opener ──open──┐                                                  ┌──► Incoming::accept
//!   Stream ◄──────►│   Driver                 socket        Driver   │◄──────► Stream
//!   Stream ◄──────►│ ┌───────┬──────┐    ┌──────────────┐  ┌──────┬──┴────┐
//!   Stream ◄──────►┴►│ yamux │ wire │◄──►│  TCP or TLS  │◄►│ wire │ yamux │◄─► Stream
//!                    └───────┴──────┘    └──────────────┘  └──────┴───────┘
//! ```
//!
//! Streams are opaque bytes here; this crate knows nothing of who uses them. What it adds to yamux:
//!
//! - a reset is told from an end: a cut transfer never reads as a clean one ([`Stream`]);
//! - a lost lane is told from a reset, so that callers know what may be retried ([`is_lane_lost`]);
//! - a full lane refuses one stream and goes on, where yamux would end the session ([`Opener`]);
//! - reading never waits for writing, so two saturated ends cannot freeze each other ([`Driver`]);
//! - streams nobody reads are bounded over all lanes, and cost those that are read nothing ([`Budget`]);
//! - frames are coalesced into large socket reads and writes, with no buffer held while idle.
//!
//! A lane is driven by its [`Driver`] alone: spawn it on something that owns it, and drop it to
//! close the socket.
//!
//! The opener of a stream must write first: yamux announces a stream with its first bytes, so a
//! stream that only reads is never seen by the other end. And the acceptor must write soon: an
//! end opens no more than 256 streams the other has not answered.

mod budget;
mod config;
mod error;
mod lane;
mod yamux;

pub use budget::{Budget, FAIR_SHARE};
pub use config::{
    Config, MAX_ACCEPT_QUEUE, MAX_FRAME_SIZE, MAX_STREAMS, MAX_WINDOW_HEADROOM, MIN_FRAME_SIZE,
};
pub use error::{ConfigError, LaneError, OpenError, is_lane_lost, is_shed};
pub use lane::{Activity, Driver, Incoming, Lane, Opener, Reservation, Vacancy, client, server};
pub use yamux::Stream;
