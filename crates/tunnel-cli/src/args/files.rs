//! The flags about configuration files.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Subcommand, builder::FalseyValueParser};

use super::Connection;

/// Where settings are taken from that aren't typed.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigFile {
    /// A file of settings (TOML), or `none` [default: server.toml or client.toml in their usual places, if there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `tunnel start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// The tunnels to publish: NAME for [tunnel.NAME] of the file
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    pub names: Vec<String>,

    /// Publish all tunnels of the file
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub all: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub connection: Connection,
}

/// `tunnel config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// `tunnel config …`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Look a file through: one line for each fault, and exit status 1 if there is one
    Check {
        /// The file [default: those in their usual places]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,

        #[command(flatten)]
        #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
        side: WhichSide,
    },
    /// Show which settings a command would have, and where each comes from: `tunnel config show server --hold 5s`
    Show {
        #[command(flatten)]
        #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
        side: WhichSide,

        /// One JSON object, for scripts
        #[arg(long)]
        json: bool,

        /// A command as it would be typed, without `tunnel` [default: `server`, or `start --all` with --client]
        #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

/// Whose file it is.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct WhichSide {
    /// It is a server's [default: as the file's name or its settings say]
    #[arg(long)]
    pub server: bool,

    /// It is a client's
    #[arg(long, conflicts_with = "server")]
    pub client: bool,
}
