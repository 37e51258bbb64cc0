//! Traces of a running server, for OpenTelemetry: a span for each visitor's exchange that is traced, and one for each
//! client's session, sent to an OTLP receiver (http/protobuf).
//!
//! ```text
//!   engine ──► records (a ring of 4,096) ──► gatherer: spans ──► queue of 4,096 ──► sender: batches ──► receiver
//!          ──► events ───────────────────►
//! ```
//! Nothing is added to the way of a request but its place in the trace, which the engine decides
//! ([`Trace`](tunnel_server::Trace)): spans are made of the records of what is over. No visitor ever waits for a receiver.
//! One that is slow, full or gone costs spans, which are counted and told of in the server's log.
//!
//! None of OpenTelemetry's crates is used. They make spans where the code runs, keep them in a thread of their own and
//! read the environment; and what is left of them then is the messages.

pub mod message;

mod endpoint;
mod exporter;
mod pairs;

mod gather;
mod losses;
mod spans;

mod collector;
mod send;

pub use endpoint::{Endpoint, EndpointError};
pub use exporter::{Exporter, Settings, StartError};
pub use pairs::{Pairs, PairsError};
