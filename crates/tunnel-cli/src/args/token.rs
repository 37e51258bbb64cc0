//! The flags for tokens and what each may do.

use std::{path::PathBuf, time::SystemTime};

use clap::{
    Args, Subcommand,
    builder::{FalseyValueParser, NonEmptyStringValueParser},
};
use tunnel_server::{HostPattern, LabelPattern, PortSet, ReservedName, TunnelKind};
use tunnel_store::Change;

use crate::resolve::rights;

/// `tunnel token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The server's data directory [default: as for `tunnel server`]
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// `tunnel token …`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, alone, on standard output
    Create {
        /// What to call it: who or what will use it
        name: String,

        #[command(flatten)]
        #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
        rights: Box<RightsArgs>,
    },
    /// List the tokens: ids, dates, names and rights
    List {
        /// As JSON
        #[arg(long, value_parser = FalseyValueParser::new())]
        json: bool,
    },
    /// Show one token: what it may do, and what its visitors used by month
    Show {
        /// What it is called
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,

        /// As JSON
        #[arg(long, value_parser = FalseyValueParser::new())]
        json: bool,
    },
    /// Change what a token may do; a running server follows within a second, also for what is open
    Edit {
        /// What it is called
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,

        #[command(flatten)]
        #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
        rights: Box<RightsArgs>,

        /// Take the right to such subdomains away
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        remove_subdomain: Vec<LabelPattern>,

        /// Take the right to a domain away
        #[arg(long, value_name = "HOST", value_delimiter = ',')]
        remove_domain: Vec<HostPattern>,
    },
    /// Give a token a new secret, and print it as `create` does; its id, name and rights stay
    Rotate {
        /// What it is called
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,

        /// How long the former secret is taken as well: 1h, 2d; without it, its clients are disconnected at once
        #[arg(long, value_name = "TIME", value_parser = crate::resolve::values::duration, default_value = "0s")]
        grace: std::time::Duration,
    },
    /// End a token: its clients are disconnected within a second
    Revoke {
        /// What it was called
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
    },
}

/// What a token may do. Numbers may be `any`, which lifts the limit again.
#[derive(Debug, Default, Args)]
pub struct RightsArgs {
    /// A subdomain it may have, or a pattern of them such as 'dev-*'; may be given several times. Without any it may
    /// have all that aren't reserved; a reserved one such as `www` must be named
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub subdomain: Vec<LabelPattern>,

    /// A domain of its own it may have, or a wildcard such as '*.dev.example.com'; may be given several times
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub domain: Vec<HostPattern>,

    /// The kinds of tunnels it may have, of http, tls, tcp and udp; or `any` [default: any]
    #[arg(long, value_name = "KINDS", value_parser = rights::kinds)]
    pub kind: Option<Change<Kinds>>,

    /// The TCP ports it may have, of those that the server offers: 20000-20009,22022; or `none`, or `any` [default: any]
    #[arg(long, value_name = "PORTS", value_parser = rights::ports)]
    pub tcp_ports: Option<Change<PortSet>>,

    /// The UDP ports it may have, likewise [default: any]
    #[arg(long, value_name = "PORTS", value_parser = rights::ports)]
    pub udp_ports: Option<Change<PortSet>>,

    /// How many tunnels it may have at a time [default: any, up to the server's limit]
    #[arg(long, value_name = "N", value_parser = rights::number)]
    pub max_tunnels: Option<Change<u32>>,

    /// How many visitors all its tunnels may have at a time [default: any]
    #[arg(long, value_name = "N", value_parser = rights::number)]
    pub max_connections: Option<Change<u32>>,

    /// How much all its tunnels may carry together, each way: 10MB/s, 512KiB/s [default: any]
    #[arg(long, value_name = "BYTES/s", value_parser = rights::bandwidth)]
    pub bandwidth: Option<Change<u64>>,

    /// How much its tunnels may carry in a calendar month (UTC), both ways together: 100GB [default: any]
    #[arg(long, value_name = "BYTES", value_parser = rights::bytes)]
    pub monthly_bytes: Option<Change<u64>>,

    /// When it ends: after a time such as 30d, or at the beginning of a day such as 2027-01-31 (UTC), or `never`
    /// [default: never]
    #[arg(long, value_name = "WHEN", value_parser = rights::expiry)]
    pub expires: Option<Change<SystemTime>>,
}

/// Kinds of tunnels, as one value.
pub type Kinds = Vec<TunnelKind>;

/// `tunnel reserve`.
#[derive(Debug, Args)]
pub struct ReserveArgs {
    /// What to reserve: a subdomain (demo), a domain (app.example.com, '*.dev.example.com') or a port (tcp:20022)
    #[arg(value_name = "NAME", required_unless_present = "list", value_parser = rights::reserved)]
    pub name: Option<ReservedName>,

    /// Whose it is to be: a token's name
    #[arg(long = "for", value_name = "TOKEN", required_unless_present_any = ["list", "release"])]
    pub token: Option<String>,

    /// Let anybody have it again
    #[arg(long, value_parser = FalseyValueParser::new(), conflicts_with_all = ["token", "list"])]
    pub release: bool,

    /// List what is reserved, and for whom
    #[arg(long, value_parser = FalseyValueParser::new(), conflicts_with_all = ["name", "token"])]
    pub list: bool,

    /// With --list: as JSON
    #[arg(long, value_parser = FalseyValueParser::new(), requires = "list")]
    pub json: bool,

    /// The server's data directory [default: as for `tunnel server`]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}
