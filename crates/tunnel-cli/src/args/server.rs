//! The flags of the server's side.

use std::{
    net::{IpAddr, Ipv6Addr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum, builder::FalseyValueParser};
use ipnet::IpNet;
use tunnel_server::Hostname;

use super::{AdminArgs, ProtectionArgs, ServerCommand, TraceArgs, files::ConfigFile};
use crate::resolve::values;

/// `tunnel server`.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<ServerCommand>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub file: ConfigFile,

    /// The domain whose subdomains are given to clients; `*.localhost` needs no DNS
    #[arg(long, value_name = "NAME", value_parser = values::domain, default_value = "localhost")]
    pub domain: Hostname,

    /// The port for clients; 0 lets the system choose
    #[arg(long, value_name = "PORT", value_parser = values::any_port, default_value_t = tunnel_transport::DEFAULT_PORT)]
    pub control_port: u16,

    /// The port for web visitors; 0 lets the system choose
    #[arg(long, value_name = "PORT", value_parser = values::any_port, default_value_t = 8080)]
    pub public_port: u16,

    /// The port for visitors with TLS: of web tunnels, with --cert and --key, and of TLS tunnels; 0 lets the system
    /// choose [default: none]
    #[arg(long, value_name = "PORT", value_parser = values::any_port)]
    pub https_port: Option<u16>,

    /// A certificate for the https port (PEM, whole chain), read again when it changes; may be given several times, each
    /// with its --key: a visitor gets the one for its host, or else the first
    #[arg(long, value_name = "FILE", value_delimiter = ',', requires_all = ["https_port", "key"])]
    pub cert: Vec<PathBuf>,

    /// The private key of the certificate at the same place in the row (PEM)
    #[arg(long, value_name = "FILE", value_delimiter = ',', requires = "cert")]
    pub key: Vec<PathBuf>,

    /// Send visitors of the web port to the https port
    #[arg(long, requires = "cert", value_parser = FalseyValueParser::new())]
    pub redirect_https: bool,

    /// The address to listen on; `::` is every address, of IPv4 too
    #[arg(long, value_name = "ADDR", value_parser = values::address, default_value_t = IpAddr::V6(Ipv6Addr::UNSPECIFIED))]
    pub bind: IpAddr,

    /// The ports that TCP tunnels may have, or `none`
    #[arg(long, value_name = "FIRST-LAST", value_parser = values::ports, default_value = "20000-29999")]
    pub tcp_ports: Ports,

    /// The ports that UDP tunnels may have, or `none`
    #[arg(long, value_name = "FIRST-LAST", value_parser = values::ports, default_value = "20000-29999")]
    pub udp_ports: Ports,

    /// After how long without a datagram either way a visitor of a UDP tunnel is forgotten
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "60s")]
    pub udp_idle: Duration,

    /// How many bytes a visitor of a UDP tunnel may be sent for each that came from it [default: any number]
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub udp_answer_ratio: Option<u32>,

    /// Where tokens, key and leases are kept [default: /var/lib/tunnel for root and whom it belongs to,
    /// else the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// How long visitors wait for a client that is away; 0s answers them at once
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "10s")]
    pub hold: Duration,

    /// How long the name of a lost client is kept for it
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "60s")]
    pub lease: Duration,

    /// How long visitors under way may take to finish when the server is asked to stop
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "30s")]
    pub grace: Duration,

    /// The form of the log, and with `json` of the lines about what is listened on
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub log_format: LogFormat,

    /// Where a line is written for each visitor's exchange, `-` for standard output; opened anew on SIGHUP
    /// [default: none]
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<PathBuf>,

    /// The form of the access log's lines
    #[arg(long, value_enum, default_value_t, value_name = "FORM", requires = "access_log")]
    pub access_log_format: AccessFormat,

    /// Who may connect clients: holders of a token, or anyone (on loopback only)
    #[arg(long, value_enum, default_value_t, value_name = "WHO")]
    pub auth: Auth,

    /// No TLS for clients: only for links that are encrypted already
    #[arg(long, value_parser = FalseyValueParser::new(), conflicts_with_all = ["control_cert", "control_key"])]
    pub plaintext: bool,

    /// A certificate for clients to verify by its issuer (PEM, whole chain), instead of one of the server's own
    #[arg(long, value_name = "FILE", requires = "control_key")]
    pub control_cert: Option<PathBuf>,

    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "control_cert")]
    pub control_key: Option<PathBuf>,

    /// The port in public web addresses, if visitors come through something that forwards another
    #[arg(long, value_name = "PORT", value_parser = values::any_port)]
    pub public_url_port: Option<u16>,

    /// The same for the port in https:// and tls:// addresses
    #[arg(long, value_name = "PORT", value_parser = values::any_port, requires = "https_port")]
    pub https_url_port: Option<u16>,

    /// A network (CIDR) whose X-Forwarded-* headers are believed; may be given several times
    #[arg(long, value_name = "CIDR", value_parser = values::network, value_delimiter = ',')]
    pub trusted_proxy: Vec<IpNet>,

    /// A network (CIDR) of load balancers, whose connections must begin with a PROXY header (v1 or v2); may be given
    /// several times
    #[arg(long, value_name = "CIDR", value_parser = values::network, value_delimiter = ',')]
    pub accept_proxy_protocol: Vec<IpNet>,

    /// Most visitors of one tunnel at a time [default: 12000]
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub max_visitors: Option<u32>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub protection: ProtectionArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub admin: AdminArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub traces: TraceArgs,
}

/// The ports of TCP or UDP tunnels; `None`: there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(pub Option<RangeInclusive<u16>>);

/// Who is let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Holders of a token.
    #[default]
    Token,
    /// Anyone who can connect.
    None,
}

/// For whom a server's log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// The form of the access log's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AccessFormat {
    /// As Apache's: address, time, request, status, bytes; then id, tunnel and durations.
    #[default]
    Common,
    /// The same with referer and user agent.
    Combined,
    /// One JSON object a line.
    Json,
}

/// `tunnel demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Show the files of this directory instead of the sample site
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,
}
