//! Random ids and secrets, from the operating system's source.

use tunnel_protocol::{RequestId, Secret, SessionId};

/// `N` random bytes.
///
/// The system's random source fails only where nothing of ours could work (no entropy at first boot, a sandbox
/// without the system call); there is no safe way on from there.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("invariant: the operating system gives random bytes");
    bytes
}

pub(crate) fn session_id() -> SessionId {
    SessionId(u64::from_be_bytes(random()))
}

pub(crate) fn request_id() -> RequestId {
    RequestId(u128::from_be_bytes(random()))
}

pub(crate) fn secret() -> Secret<32> {
    Secret::new(random())
}

/// A random number below `bound`, which is not 0. Slightly uneven; good enough to spread choices.
pub(crate) fn below(bound: u32) -> u32 {
    u32::from_be_bytes(random()) % bound
}
