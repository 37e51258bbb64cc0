//! Whole exchanges: raw visitors on sockets, raw upstreams on a client's streams, all of the server between them.
//!
//! On two threads, since what is under way on one while the other lets go of it is where exchanges go wrong.

mod world;

mod cut;
mod exchange;
mod floods;
mod http2;
mod lanes;
mod linger;
mod retry;
mod switch;
mod twins;
mod upstream;
mod websocket;
