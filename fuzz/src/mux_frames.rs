//! yamux frames of a hostile client, byte for byte, on a lane of ours.

use crate::lane;

/// Runs a lane over `data` and then the end of the socket.
pub fn check(data: &[u8]) {
    lane::run(data.to_vec());
}
