//! Bounds both peers hold each other to. They are part of the protocol: a peer that exceeds one is cut off.

use std::time::Duration;

/// The longest login frame, in bytes. A stranger can make us hold this much and no more.
pub const LOGIN_FRAME_MAX: usize = 4 * 1024;

/// The longest control frame, in bytes. Only authenticated peers send these.
pub const CONTROL_FRAME_MAX: usize = 64 * 1024;

/// How long a peer may take from its first byte to the end of its login, TLS included.
pub const LOGIN_DEADLINE: Duration = Duration::from_secs(10);

/// How often each side sends a heartbeat: often enough to keep a NAT binding alive (the shortest seen is 30 s).
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How long a silent peer is believed alive: three lost heartbeats.
pub const HEARTBEAT_DEADLINE: Duration = Duration::from_secs(15);

/// The longest subdomain, in bytes (RFC 1035 §2.3.4).
pub const LABEL_MAX: usize = 63;

/// How many tunnels one session may hold.
pub const TUNNELS_PER_SESSION: usize = 256;

/// How much of each direction of a visitor's stream its twin carries, in bytes: what a visitor asks first, and the
/// first that it is answered. More would be bulk, which has lanes of its own.
pub const TWIN_BYTES: usize = 4 * 1024;
