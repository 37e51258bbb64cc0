//! The server side of tunnel, as a library: sessions in, tunnels leased, visitors dispatched.
