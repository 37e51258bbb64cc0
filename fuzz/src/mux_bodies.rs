//! yamux frames of a hostile client with bodies of any length: what it takes to overrun a window of 256 KiB, which no
//! fuzzer would grow an input to.

use crate::lane;

const HEADER: usize = 12;
const DATA: u8 = 0;
/// Most bytes for one lane: three windows.
const MOST: usize = 768 << 10;

/// Reads `data` as headers only, gives each data frame the body that its header announces, and runs a lane over it.
pub fn check(data: &[u8]) {
    let mut bytes = Vec::new();
    for header in data.chunks(HEADER) {
        bytes.extend_from_slice(header);
        if let [0, DATA, _, _, _, _, _, _, length @ ..] = header
            && let Ok(length) = <[u8; 4]>::try_from(length)
        {
            let length = u32::from_be_bytes(length) as usize;
            bytes.resize(MOST.min(bytes.len().saturating_add(length)), b'x');
        }
    }
    lane::run(bytes);
}
