//! The flags of `tunnel doctor`.

use std::path::PathBuf;

use clap::{Args, builder::FalseyValueParser};
use tunnel_client::Upstream;
use tunnel_transport::ServerAddress;

use super::{Credentials, Route, ServerArgs, Side, Usage};
use crate::resolve::values;

/// `tunnel doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The local service to look at, too: PORT, HOST:PORT, http://…, https://…, unix:PATH, or a directory of files
    #[arg(value_name = "UPSTREAM", value_parser = values::upstream)]
    pub upstream: Option<Upstream>,

    /// The server's control port: HOST or HOST:PORT [default: that of the last `tunnel login`]
    #[arg(long, value_name = "HOST:PORT")]
    pub server: Option<ServerAddress>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub credentials: Credentials,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub route: Route,

    /// Look at a server of this machine, or at a client [default: a client, unless only a server is set up here]
    #[arg(long, value_enum, value_name = "SIDE")]
    pub side: Option<Side>,

    /// One JSON object, for scripts
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub json: bool,

    /// Where the client keeps its id, names and logins [default: the user's state directory]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// A server of this machine, by its configuration and environment.
    #[arg(skip)]
    pub own_server: Option<Result<OwnServer, Usage>>,
}

/// A server of this machine, as its configuration and environment have it.
#[derive(Debug)]
pub struct OwnServer {
    /// What it would be told.
    pub args: Box<ServerArgs>,
    /// The file that says so, if there is one.
    pub config: Option<PathBuf>,
}
