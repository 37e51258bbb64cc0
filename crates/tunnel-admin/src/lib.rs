//! Seeing and steering a running server: the admin API, its dashboard, metrics and health.
//!
//! It is handed the server's handle and whatever keeps the tokens, and owns nothing but its own connections. What it
//! shows is what the engine says; it never touches a visitor's bytes.
