//! Sockets to authenticated byte streams: TCP, TLS, certificates.
