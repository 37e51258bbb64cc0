//! The flags that protect a server on a public address from those who come to it.

use clap::{Args, builder::FalseyValueParser};
use tunnel_server::{Contact, Rate};

use crate::resolve::values;

/// What one visitor's address may do, and what visitors are shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Protection")]
pub struct ProtectionArgs {
    /// Most connections of one visitor address (IPv6: of one /64) at a time, to all tunnels together [default: 1000]
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub max_connections_per_address: Option<u32>,

    /// Most new connections of one visitor address, to all ports together, and apart from them new visitors of UDP
    /// tunnels, or `none`
    #[arg(long, value_name = "RATE", value_parser = values::allowance, default_value = "3000/10s")]
    pub connection_rate_per_address: Allowance,

    /// Most web requests of one visitor address at a time, to all tunnels together, WebSockets included [default: 2000]
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub max_requests_per_address: Option<u32>,

    /// Most new web requests of one visitor address, to all tunnels together, or `none`
    #[arg(long, value_name = "RATE", value_parser = values::allowance, default_value = "50000/10s")]
    pub request_rate_per_address: Allowance,

    /// Most visitors of one address that wait for clients that are away [default: 250]
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub max_waiting_per_address: Option<u32>,

    /// How much memory the server keeps to, by turning new visitors away before it has more: a size such as `512MiB`,
    /// `auto` for three quarters of what its control group or the machine has, or `none`
    #[arg(long, value_name = "SIZE", value_parser = values::memory, default_value = "auto")]
    pub memory_budget: MemoryBudget,

    /// Show browsers a warning before the first page of each web tunnel
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub interstitial: bool,

    /// Where to report abuse, an email address or a URL: shown on the server's own pages [default: nowhere]
    #[arg(long, value_name = "CONTACT", value_parser = Contact::parse)]
    pub abuse_contact: Option<Contact>,
}

/// How much memory a server keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryBudget {
    /// What seems right for the machine.
    Auto,
    /// So many bytes; `None`: any number.
    Bytes(Option<u64>),
}

/// How often; `None`: as often as one likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance(pub Option<Rate>);
