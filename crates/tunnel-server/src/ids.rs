//! Random ids and secrets, from the operating system's source.

use std::cell::RefCell;

use tunnel_protocol::{RequestId, Secret, SessionId};

/// How many request ids are made at a time, for each thread.
const IDS_AHEAD: usize = 64;

/// `N` random bytes.
///
/// The system's random source fails only where nothing of ours could work (no entropy at first boot, a sandbox
/// without the system call); there is no safe way on from there.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("invariant: the operating system gives random bytes");
    bytes
}

pub(crate) fn session_id() -> SessionId {
    SessionId(u64::from_be_bytes(random()))
}

/// There is one for each request, so the system is asked for many at a time: they are no secrets.
pub(crate) fn request_id() -> RequestId {
    thread_local! {
        static AHEAD: RefCell<Vec<RequestId>> = const { RefCell::new(Vec::new()) };
    }
    AHEAD.with_borrow_mut(|ahead| {
        if ahead.is_empty() {
            let bytes: [u8; 16 * IDS_AHEAD] = random();
            let ids = bytes.as_chunks().0.iter().map(|id| RequestId(u128::from_be_bytes(*id)));
            ahead.extend(ids);
        }
        ahead.pop().expect("invariant: it was filled just now")
    })
}

/// Names one exchange in a trace; never 0.
pub(crate) fn span_id() -> u64 {
    u64::try_from(request_id().0 >> 64).expect("invariant: half of the bits are left").max(1)
}

pub(crate) fn secret() -> Secret<32> {
    Secret::new(random())
}

/// A random number below `bound`, which is not 0. Slightly uneven; good enough to spread choices.
pub(crate) fn below(bound: u32) -> u32 {
    u32::from_be_bytes(random()) % bound
}
