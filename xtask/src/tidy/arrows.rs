//! The arrows between crates: who may name whom, and what each may bring in from outside.
//!
//! This table is the architecture. A new arrow is a line here, in a change that says why; an arrow may only go down.
//! `graph` holds the crates to it, and `deny.toml` holds the same line for crates that are pulled in indirectly.

/// One crate of the workspace and its normal dependencies; dev-dependencies are looser (see `graph`).
#[derive(Debug)]
pub(crate) struct Row {
    /// The crate.
    pub(crate) name: &'static str,
    /// Crates of ours it may name.
    pub(crate) ours: &'static [&'static str],
    /// Crates of others it may name.
    pub(crate) budget: Budget,
    /// Why the row is as short as it is.
    pub(crate) why: &'static str,
}

/// What a crate may bring in from outside.
#[derive(Debug)]
pub(crate) enum Budget {
    /// These and no others.
    Only(&'static [&'static str]),
    /// Whatever [`RESERVED`] doesn't keep for another.
    Unreserved,
}

/// A third-party crate that only some may name.
#[derive(Debug)]
pub(crate) struct Reserved {
    /// The third-party crates.
    pub(crate) names: &'static [&'static str],
    /// The crates of ours that may name them.
    pub(crate) owners: &'static [&'static str],
    /// Why nobody else may.
    pub(crate) why: &'static str,
}

use Budget::{Only, Unreserved};

/// Every crate of the workspace, bottom layer first.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "tunnel-protocol",
        ours: &[],
        budget: Only(&[
            "bytes",
            "data-encoding",
            "hmac",
            "serde",
            "serde_json",
            "sha2",
            "subtle",
            "thiserror",
        ]),
        why: "protocol is pure: bytes in, messages out; no I/O, clock, randomness, nor any crate of ours",
    },
    Row {
        name: "tunnel-router",
        ours: &[],
        budget: Only(&["thiserror"]),
        why: "router is pure: names and bytes in, a verdict out; no I/O, clock, randomness, nor any crate of ours",
    },
    Row {
        name: "tunnel-io",
        ours: &[],
        budget: Only(&["bytes", "tokio"]),
        why: "io adapts byte streams and knows nothing of what they carry",
    },
    Row {
        name: "tunnel-mux",
        ours: &[],
        budget: Only(&["futures", "thiserror", "tokio", "tracing", "yamux"]),
        why: "mux is the waist: streams are opaque bytes to it, over any AsyncRead + AsyncWrite",
    },
    Row {
        name: "tunnel-transport",
        ours: &["tunnel-io", "tunnel-mux"],
        budget: Only(&[
            "data-encoding",
            "futures",
            "rcgen",
            "ring",
            "rustls",
            "rustls-pki-types",
            "rustls-platform-verifier",
            "rustls-webpki",
            "sha2",
            "socket2",
            "thiserror",
            "tokio",
            "tokio-rustls",
            "tracing",
        ]),
        why: "transport turns sockets into authenticated byte streams and knows neither engine nor protocol",
    },
    Row {
        name: "tunnel-client",
        ours: &["tunnel-io", "tunnel-mux", "tunnel-protocol", "tunnel-transport"],
        budget: Unreserved,
        why: "client and server meet only in protocol: client never names server or router",
    },
    Row {
        name: "tunnel-server",
        ours: &["tunnel-io", "tunnel-mux", "tunnel-protocol", "tunnel-router", "tunnel-transport"],
        budget: Unreserved,
        why: "client and server meet only in protocol: server never names client; engines never name the shell",
    },
    Row {
        name: "tunnel-store",
        ours: &["tunnel-protocol", "tunnel-server"],
        budget: Only(&["getrandom", "rusqlite", "serde", "serde_json", "thiserror", "tokio", "tracing"]),
        why: "an extension knows its engine and no other extension; store keeps what the server remembers",
    },
    Row {
        name: "tunnel-admin",
        ours: &["tunnel-server"],
        budget: Unreserved,
        why: "an extension knows its engine and no other extension; admin shows and steers a running server",
    },
    Row {
        name: "tunnel-otel",
        ours: &["tunnel-server", "tunnel-transport"],
        budget: Unreserved,
        why: "an extension knows its engine and no other extension; otel sends what visitors' records say",
    },
    Row {
        name: "tunnel-cli",
        ours: &[
            "tunnel-admin",
            "tunnel-client",
            "tunnel-otel",
            "tunnel-protocol",
            "tunnel-server",
            "tunnel-store",
            "tunnel-transport",
        ],
        budget: Unreserved,
        why: "cli turns flags, environment and files into engine configs; plumbing is the engines' business",
    },
    Row {
        name: "tunnel",
        ours: &[
            "tunnel-admin",
            "tunnel-cli",
            "tunnel-client",
            "tunnel-io",
            "tunnel-mux",
            "tunnel-otel",
            "tunnel-protocol",
            "tunnel-router",
            "tunnel-server",
            "tunnel-store",
            "tunnel-transport",
        ],
        budget: Unreserved,
        why: "the binary wires anything shipped together, and ships nothing made for tests",
    },
    Row {
        name: "tunnel-testkit",
        ours: &[
            "tunnel-admin",
            "tunnel-client",
            "tunnel-io",
            "tunnel-mux",
            "tunnel-protocol",
            "tunnel-router",
            "tunnel-server",
            "tunnel-store",
            "tunnel-transport",
        ],
        budget: Unreserved,
        why: "the test kit drives the engines in process; it sits beside the shell, not above it",
    },
    Row {
        name: "tunnel-examples",
        ours: &[
            "tunnel-admin",
            "tunnel-client",
            "tunnel-io",
            "tunnel-mux",
            "tunnel-protocol",
            "tunnel-router",
            "tunnel-server",
            "tunnel-store",
            "tunnel-transport",
        ],
        budget: Unreserved,
        why: "examples show the libraries as a stranger would use them",
    },
    Row {
        name: "xtask",
        ours: &[],
        budget: Unreserved,
        why: "the workshop must run while any other crate doesn't compile, and drives the binary from outside",
    },
];

/// Third-party crates kept for the crate that hides them.
pub(crate) const RESERVED: &[Reserved] = &[
    Reserved {
        names: &["yamux"],
        owners: &["tunnel-mux"],
        why: "only mux names yamux: it is one way to make a lane",
    },
    Reserved {
        names: &["ring", "rustls", "rustls-platform-verifier", "rustls-webpki", "tokio-rustls"],
        owners: &["tunnel-transport"],
        why: "only transport names rustls: one place decides what TLS means here",
    },
    Reserved {
        names: &["hyper", "hyper-util"],
        owners: &["tunnel-admin", "tunnel-otel", "tunnel-testkit", "tunnel-examples", "xtask"],
        why: "visitors' HTTP/1 is read by the server's own strict reader; hyper is for those we know",
    },
    Reserved {
        names: &["h2", "http-body-util"],
        owners: &[
            "tunnel-server",
            "tunnel-admin",
            "tunnel-otel",
            "tunnel-testkit",
            "tunnel-examples",
            "xtask",
        ],
        why: "only server and its extensions name h2: one place parses and re-frames visitors' HTTP",
    },
    Reserved {
        names: &["rusqlite"],
        owners: &["tunnel-store"],
        why: "only store names the database: everybody else sees tokens, rights and counters",
    },
    Reserved {
        names: &["prost"],
        owners: &["tunnel-otel"],
        why: "only otel names prost: protobuf is the language of OpenTelemetry's receivers, not ours",
    },
    Reserved {
        names: &["clap", "clap_complete", "clap_mangen", "toml"],
        owners: &["tunnel-cli", "xtask"],
        why: "only cli names clap and toml: engines take plain configs",
    },
    Reserved {
        names: &["anyhow"],
        owners: &["tunnel", "tunnel-examples", "xtask"],
        why: "libraries return typed errors; only the binary, xtask and examples may shrug with anyhow",
    },
    Reserved {
        names: &["tracing-subscriber"],
        owners: &["tunnel", "tunnel-examples", "tunnel-testkit", "xtask"],
        why: "no library installs a global: whoever owns main picks the logger",
    },
];

/// Crates at the top of the picture, which nothing may name, not even for tests.
pub(crate) const TOPS: &[&str] = &["tunnel", "tunnel-examples", "xtask"];

/// The crate that others may name for tests only.
pub(crate) const TEST_KIT: &str = "tunnel-testkit";
