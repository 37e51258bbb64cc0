//! The flags of `tunnel upgrade`.

use std::path::PathBuf;

use clap::Args;

/// `tunnel upgrade`.
#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// The server's data directory [default: as for `tunnel server`]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}
