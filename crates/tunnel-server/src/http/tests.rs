//! Whole exchanges: raw visitors on sockets, raw upstreams on a client's streams, all of the server between them.

mod world;

mod cut;
mod exchange;
mod retry;
mod switch;
