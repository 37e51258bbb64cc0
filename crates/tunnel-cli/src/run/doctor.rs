//! `tunnel doctor`: looks, tells, and ends with 1 if anything is wrong.

use super::Failure;
use crate::{
    args::DoctorArgs,
    doctor::{self, Report},
    output::Console,
};

pub(super) async fn run(args: DoctorArgs, console: Console) -> Result<(), Failure> {
    let is_json = args.json;
    let (patient, warnings) = args.resolve()?;
    for warning in &warnings {
        console.warning(warning);
    }
    let report = doctor::examine_client(&patient).await;
    tell(&report, is_json, console)
}

fn tell(report: &Report, is_json: bool, console: Console) -> Result<(), Failure> {
    let lines = if is_json { vec![report.json()] } else { report.text() };
    lines.iter().for_each(|line| console.line(line));
    match report.failed() {
        failed if failed.is_empty() => Ok(()),
        failed => Err(Failure::Unwell(failed)),
    }
}
