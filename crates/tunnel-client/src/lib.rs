//! The client side of tunnel, as a library: connect, stay connected, hand out tunnels.
