//! The wire between a tunnel client and a tunnel server, and nothing else.
//!
//! Everything here is a function of the bytes passed in: no sockets, no clock, no randomness. Whoever holds a
//! connection feeds it bytes and gets messages. `docs/PROTOCOL.md` says the same in prose, for other languages.
//!
//! ```text
//!            login frames            control frames            one header per visitor stream
//!   client ──Hello──────────►  ──Bind, Unbind, Pong, Drain──►  ◄──StreamHeader + visitor bytes──
//!          ◄─Welcome|Refused─  ◄─Bound, Ping, GoAway, …──────  ──Accepted, Ready|Refused(code)─►  server
//!            before the mux      on the first mux stream         on every other mux stream
//! ```

pub mod bind;
pub mod code;
pub mod control;
pub mod datagram;
mod field;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod login;
pub mod policy;
pub mod proof;
pub mod proxy;
pub mod secret;
pub mod stream_header;
pub mod text;
pub mod token;
pub mod version;

pub use bind::BindSpec;
pub use code::Code;
pub use control::{ClientMessage, ServerMessage};
pub use frame::{FrameDecoder, FrameError};
pub use ids::{InstanceId, RequestId, SessionId, TunnelId};
pub use login::{Challenge, Hello, LoginReply, Refusal, Welcome};
pub use policy::Policy;
pub use secret::Secret;
pub use stream_header::{StreamHeader, StreamKind, StreamReply, Twin};
pub use token::{Token, TokenHash, TokenId};
pub use version::Version;
