//! The protocol's numbers: bounds that both peers hold each other to, and what a server asks for unless it is set
//! otherwise.

use std::time::Duration;

/// The longest login frame, in bytes. A stranger can make us hold this much and no more.
pub const LOGIN_FRAME_MAX: usize = 4 * 1024;

/// The longest control frame, in bytes. Only authenticated peers send these.
pub const CONTROL_FRAME_MAX: usize = 64 * 1024;

/// How long a client may take from the accepted connection to the end of its login, TLS included. Default of both sides.
pub const LOGIN_DEADLINE: Duration = Duration::from_secs(10);

/// How often each side sends a heartbeat, unless the server's welcome says otherwise: often enough to keep a NAT binding
/// alive (the shortest seen is 30 s).
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How long a silent peer is believed alive, unless the server's welcome says otherwise: three lost heartbeats.
pub const HEARTBEAT_DEADLINE: Duration = Duration::from_secs(15);

/// The longest subdomain, in bytes (RFC 1035 §2.3.4).
pub const LABEL_MAX: usize = 63;

/// How many tunnels a client has in one session at the most, and a server lets it have unless it is set otherwise. One
/// more is refused.
pub const TUNNELS_PER_SESSION: usize = 256;

/// How much of each direction of a visitor's stream its twin carries, in bytes: what a visitor asks first, and the
/// first that it is answered. More would be bulk, which has lanes of its own.
pub const TWIN_BYTES: usize = 4 * 1024;
