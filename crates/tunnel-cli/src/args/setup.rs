//! The flags of `tunnel server init` and `tunnel service`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, builder::FalseyValueParser};
use tunnel_server::Hostname;

use crate::resolve::values;

/// `tunnel server …`.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Set this machine up as a server: configuration, systemd unit, key and first token
    Init(InitArgs),
    /// Find out what keeps this server from working, each fault with its cure; with the same flags as the server itself,
    /// before `doctor`
    Doctor {
        /// One JSON object, for scripts
        #[arg(long, value_parser = FalseyValueParser::new())]
        json: bool,
    },
}

/// `tunnel server init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The domain whose subdomains are given to clients [default: asked for]
    #[arg(long, value_name = "NAME", value_parser = values::domain)]
    pub domain: Option<Hostname>,

    /// The port for clients [default: 4444]
    #[arg(long, value_name = "PORT", value_parser = values::one_port)]
    pub control_port: Option<u16>,

    /// The port for web visitors [default: 80]
    #[arg(long, value_name = "PORT", value_parser = values::one_port)]
    pub public_port: Option<u16>,

    /// Put configuration, unit and data into this directory, instead of where the system has them
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,

    /// Don't ask
    #[arg(long, short, value_parser = FalseyValueParser::new())]
    pub yes: bool,

    /// Only show what would be written
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub print: bool,

    /// Write over files that say something else, and go on when a port is taken; keys and tokens stay
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub force: bool,
}

/// `tunnel service`.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ServiceCommand,
}

/// `tunnel service …`.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Have the system run it, now and at every start
    Install {
        #[command(flatten)]
        #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
        which: Which,

        /// Its configuration [default: /etc/tunnel/server.toml or client.toml; without --system the user's own]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,

        /// Only show what would be written
        #[arg(long, value_parser = FalseyValueParser::new())]
        print: bool,

        /// Write over a unit that somebody else wrote
        #[arg(long, value_parser = FalseyValueParser::new())]
        force: bool,
    },
    /// Stop it and remove its unit; configuration and data stay
    Uninstall {
        #[command(flatten)]
        #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
        which: Which,
    },
    /// Whether it runs
    Status {
        #[command(flatten)]
        #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
        which: Which,
    },
}

/// Which service.
#[derive(Clone, Copy, Debug, Args)]
pub struct Which {
    /// The server, or the client with all its tunnels
    #[arg(value_enum, value_name = "SIDE")]
    pub side: Side,

    /// A client for the whole machine instead of this user's own
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub system: bool,
}

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// The public side.
    Server,
    /// The laptop's.
    Client,
}
