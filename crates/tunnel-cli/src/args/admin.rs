//! The flags around seeing and steering a server: of commands that ask a running one on its own machine, and of the
//! server's admin port.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use clap::{Args, builder::FalseyValueParser};
use tunnel_server::Hostname;

use crate::resolve::values;

/// The server's admin port; part of `tunnel server`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Admin port")]
pub struct AdminArgs {
    /// The port of the dashboard, the admin API and the metrics; 0 lets the system choose [default: none]
    #[arg(long, value_name = "PORT", value_parser = values::any_port)]
    pub admin_port: Option<u16>,

    /// The address of the admin port; beyond loopback it needs --cert, and a password or token
    #[arg(long, value_name = "ADDR", value_parser = values::address, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), requires = "admin_port")]
    pub admin_bind: IpAddr,

    /// A file with the dashboard's password, or its argon2 hash [default: none, sign in by `tunnel dashboard`]
    #[arg(long, value_name = "FILE", requires = "admin_port")]
    pub admin_password_file: Option<PathBuf>,

    /// A file with the token that programs show at the admin port, such as Prometheus [default: none]
    #[arg(long, value_name = "FILE", requires = "admin_port")]
    pub admin_token_file: Option<PathBuf>,

    /// A name by which browsers reach the admin port, beside its address, `localhost` and --domain; may be given several
    /// times
    #[arg(long, value_name = "NAME", value_parser = values::domain, value_delimiter = ',', requires = "admin_port")]
    pub admin_host: Vec<Hostname>,
}

/// Which server is asked.
#[derive(Debug, Args)]
pub struct WhichServer {
    /// The server's data directory [default: as for `tunnel server`]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// `tunnel status` and `tunnel ps`.
#[derive(Debug, Args)]
pub struct LookArgs {
    /// Which server.
    #[command(flatten)]
    pub server: WhichServer,

    /// The answer as JSON
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// `tunnel kick`.
#[derive(Debug, Args)]
pub struct KickArgs {
    /// A session, by its id or how that begins, or a token's name for all its sessions
    pub who: String,

    /// Why, for the client
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// Which server.
    #[command(flatten)]
    pub server: WhichServer,
}

/// `tunnel close`.
#[derive(Debug, Args)]
pub struct CloseArgs {
    /// The tunnel's public address, as `tunnel ps` shows it
    pub url: String,

    /// Why, for the client
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// Which server.
    #[command(flatten)]
    pub server: WhichServer,
}

/// `tunnel pause` and `tunnel resume`.
#[derive(Debug, Args)]
pub struct OneTunnelArgs {
    /// The tunnel's public address, as `tunnel ps` shows it
    pub url: String,

    /// Which server.
    #[command(flatten)]
    pub server: WhichServer,
}
