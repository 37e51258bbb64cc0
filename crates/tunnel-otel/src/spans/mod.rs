//! What is known as spans, by OpenTelemetry's semantic conventions where they have a word for it, and else by the names
//! of the JSON access log.

mod attributes;
mod exchange;
mod sessions;

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use self::{attributes::text, exchange::of_record, sessions::Sessions};

/// The flags of a span that is recorded, and of which it is known whether its parent is another process's.
const FLAGS: u32 = 0x101;
/// Its parent is another process's.
const PARENT_IS_REMOTE: u32 = 0x200;

/// Nanoseconds since 1970, as OTLP has its times.
fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
