//! What a server remembers: tokens and their rights, reservations, usage, an audit log; in SQLite.
//!
//! It decides nothing about tunnels: the engine asks it who a token is and what it may publish, and tells it what was
//! used. It never listens on anything.
