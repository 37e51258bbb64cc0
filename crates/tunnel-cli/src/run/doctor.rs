//! `tunnel doctor` and `tunnel server doctor`: look, tell, and end with 1 if anything is wrong.

use std::path::PathBuf;

use super::Failure;
use crate::{
    args::{DoctorArgs, OwnServer, ServerArgs, Side},
    doctor::{self, Report, server::Premises},
    output::Console,
    state::{identity, places},
};

pub(super) async fn run(mut args: DoctorArgs, console: Console) -> Result<(), Failure> {
    let (json, side) = (args.json, args.side);
    let own = args.own_server.take().and_then(Result::ok);
    let names_a_client = args.server.is_some() || args.upstream.is_some();
    let (patient, warnings) = args.resolve()?;
    let is_server = match side {
        Some(side) => side == Side::Server,
        None => !names_a_client && patient.target.is_err() && has_server(own.as_ref().map(|own| &*own.args)),
    };
    if is_server {
        let OwnServer { args, config } = own.ok_or_else(|| Failure::Usage(NO_SERVER.into()))?;
        return run_server(*args, config, json, console).await;
    }
    for warning in &warnings {
        console.warning(warning);
    }
    tell(&doctor::examine_client(&patient).await, json, console)
}

const NO_SERVER: &str = "what is configured for a server here can't be read; see: tunnel server doctor";

pub(super) async fn run_server(
    args: ServerArgs,
    config: Option<PathBuf>,
    json: bool,
    console: Console,
) -> Result<(), Failure> {
    let premises = Premises { plan: args.resolve()?, config };
    tell(&doctor::server::examine(&premises).await, json, console)
}

/// Whether a server was ever started here, with what is configured for it.
fn has_server(args: Option<&ServerArgs>) -> bool {
    let data = args.and_then(|args| places::server_data(args.data_dir.clone()).ok());
    data.is_some_and(|data| identity::certificate_path(&data).exists())
}

fn tell(report: &Report, json: bool, console: Console) -> Result<(), Failure> {
    let lines = if json { vec![report.json()] } else { report.text() };
    lines.iter().for_each(|line| console.line(line));
    match report.failed() {
        failed if failed.is_empty() => Ok(()),
        failed => Err(Failure::Unwell(failed)),
    }
}
