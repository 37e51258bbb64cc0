//! `tunnel upgrade`.

use super::{door, words::Outcome};
use crate::{args::UpgradeArgs, output::Console, run::Failure, state::places};

/// Asks the running server to be replaced, and says what becomes of it.
pub(in crate::run) async fn run(args: UpgradeArgs, console: Console) -> Result<(), Failure> {
    let directory = places::known_server_data(args.data_dir)?;
    door::ask(&directory, |outcome| match outcome {
        Outcome::Ready { pid, version } => {
            console.line(&format!("process {pid} (tunnel {version}) takes over; clients are moving"));
            Ok(false)
        }
        Outcome::Moved { clients, late: 0 } => {
            console.line(&format!("{} moved", counted(clients)));
            Ok(true)
        }
        Outcome::Moved { clients, late } => {
            console.line(&format!(
                "{} moved; {late} are late and reconnect when the old process ends",
                counted(clients)
            ));
            Ok(true)
        }
        Outcome::Failed { reason } => Err(Failure::NotUpgraded(reason)),
    })
    .await
}

fn counted(clients: usize) -> String {
    if clients == 1 { "1 client has".into() } else { format!("{clients} clients have") }
}
