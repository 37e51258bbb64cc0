//! The flags that say who may visit a tunnel and what is changed on the way: what each kind of tunnel takes.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::FalseyValueParser};
use ipnet::IpNet;
use tunnel_client::HostHeader;

use super::SecretText;
use crate::resolve::{
    policies::{Edit, Rate},
    values,
};

/// For all kinds of tunnels.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Policies")]
pub struct Policies {
    /// Let in visitors from this network or address only; several times, or separated by commas
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = values::network)]
    pub allow_cidr: Vec<IpNet>,

    /// Don't let in visitors from this network or address, also when it is in one that is allowed
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = values::network)]
    pub deny_cidr: Vec<IpNet>,

    /// How many requests (connections, UDP flows) one visitor address may make: 100/s, 60/m, 1000/h
    #[arg(long, value_name = "COUNT/TIME", value_parser = Rate::read)]
    pub rate_limit: Option<Rate>,

    /// How much all visitors together may move, each way: 10MB/s, 512KiB/s
    #[arg(long, value_name = "BYTES/s", value_parser = crate::resolve::policies::bandwidth)]
    pub bandwidth: Option<u64>,

    /// End the tunnel, and the command, after this time: 2h
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub expire: Option<Duration>,
}

/// For tunnels whose visitors are connections.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Policies")]
pub struct StreamPolicies {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub common: Policies,

    /// Tell the upstream who visits, by the PROXY protocol; it must expect that
    #[arg(long, value_enum, value_name = "VERSION")]
    pub proxy_protocol: Option<ProxyVersion>,
}

/// For web tunnels.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Policies")]
pub struct WebPolicies {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub stream: StreamPolicies,

    /// Ask visitors for this login; several times for several. Others can see this command line: better in a file
    #[arg(long, value_name = "USER:PASSWORD", value_delimiter = '\n', value_parser = values::login)]
    pub basic_auth: Vec<SecretText>,

    /// A file of logins to ask visitors for, one USER:PASSWORD a line
    #[arg(long, value_name = "FILE")]
    pub basic_auth_file: Option<PathBuf>,

    /// Whether a login was on the command line, where others can see it.
    #[arg(skip)]
    pub login_was_typed: bool,

    /// What the upstream sees as `Host`: `rewrite` for its own name, or any host; answers are translated back
    #[arg(long, value_name = "HOST")]
    pub host_header: Option<HostHeader>,

    /// Set a header of requests, `Name: value`, or remove one, `-Name`; several times for several
    #[arg(long, value_name = "EDIT", value_delimiter = '\n', value_parser = Edit::read, allow_hyphen_values = true)]
    pub request_header: Vec<Edit>,

    /// Set a header of answers, `Name: value`, or remove one, `-Name`; several times for several
    #[arg(long, value_name = "EDIT", value_delimiter = '\n', value_parser = Edit::read, allow_hyphen_values = true)]
    pub response_header: Vec<Edit>,

    /// Compress answers on the server where that is of use
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub compress: bool,
}

/// How the PROXY protocol is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProxyVersion {
    /// In words.
    V1,
    /// In binary.
    V2,
}
