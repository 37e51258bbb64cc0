//! Lanes: one connection carrying many streams, by yamux.
