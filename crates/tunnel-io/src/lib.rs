//! Byte-stream adapters: prefix replay, peeking, twins, and the relay that moves every byte.
//!
//! Everything a visitor says to an upstream, and back, passes through [`relay()`]. It is the only
//! byte-copier in the tree, so that half-close, flushing, fairness and "a cut transfer must never
//! look like a clean end" are settled once, here, for streams of any kind.
//!
//! ```text
//!              a ─── read ──►┌─────────────┐─── write ──► b
//!  visitor or                │   scratch   │                upstream or
//!  mux stream                │ (per thread)│                mux stream
//!              a ◄── write ──└─────────────┘◄── read ──── b
//!
//!  b would block: what it refused becomes that direction's leftover, freed once written
//!  a says EOF:    shut b down for writing; b ► a goes on
//!  a or b fails:  both directions end, and the error says which side and which operation
//! ```
//!
//! An idle relay owns no buffer: bytes are read into a scratch buffer that belongs to the worker
//! thread, and written before the poll returns. Ten thousand silent visitors cost ten thousand
//! small futures and nothing else.
//!
//! Deadlines are the caller's: nothing in this crate looks at a clock but [`pace`], whose business it is.

pub mod scratch;

pub mod boxed;
pub mod meter;
pub mod pace;
pub mod peek;
pub mod prefixed;
pub mod relay;
pub mod twin;

pub use boxed::{BoxedIo, Io};
pub use meter::Meter;
pub use pace::{Bucket, Pace, Paced};
pub use peek::{PeekError, peek_until};
pub use prefixed::Prefixed;
pub use relay::{Operation, Relay, RelayError, RelayOptions, Relayed, Side, relay};
pub use twin::{Coming, Twinned};
