//! The control stream: what an authenticated but hostile client sends a server, and a hostile server a client.

use tunnel_protocol::limits::CONTROL_FRAME_MAX;
use tunnel_protocol::{ClientMessage, ServerMessage};

use crate::login_frame::check_messages;

/// As for a login: both directions are tagged enums, which serde buffers as a tree.
const GROWTH: usize = 80;

/// Reads frames of both directions from `data`, however it is cut.
pub fn check(data: &[u8]) {
    check_messages::<ClientMessage>(data, CONTROL_FRAME_MAX, GROWTH);
    check_messages::<ServerMessage>(data, CONTROL_FRAME_MAX, GROWTH);
}
