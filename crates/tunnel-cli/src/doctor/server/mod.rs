//! The server's side: its files, its ports, its names, and the machine under it.
//!
//! Nothing here stands on anything else, so all of it is looked at at the same time. `tunnel server init` asks the same
//! questions before it writes anything.

mod files;
mod machine;
mod names;
mod ports;
mod way_in;

use std::path::PathBuf;

use tokio::time::{Instant, timeout_at};

pub(crate) use self::{
    machine::clock,
    names::{addresses_of_this_machine, names, records},
    ports::{Door, ports},
    way_in::rehearse,
};
use super::{
    BUDGET,
    check::{Check, Fault, Report},
};
use crate::resolve::server::ServerPlan;

/// The server to look at.
#[derive(Debug)]
pub(crate) struct Premises {
    pub(crate) plan: ServerPlan,
    /// The configuration file it was told by, if it was.
    pub(crate) config: Option<PathBuf>,
}

/// Looks at everything.
///
/// # Cancel safety
/// Dropping it closes what was opened.
pub(crate) async fn examine(premises: &Premises) -> Report {
    let by = Instant::now() + BUDGET;
    let plan = &premises.plan;
    let doors = Door::all(plan);
    let domain = plan.config.domain.as_str();
    let (ports, names, way_in) = tokio::join!(
        within(by, "ports", ports(&doors, &plan.data)),
        within(by, "dns", names(domain)),
        within(by, "public", way_in::examine(plan)),
    );
    let checks = [
        vec![config(premises)],
        files::examine(plan),
        ports,
        names,
        way_in,
        vec![machine::open_files(), clock(), machine::disk(&plan.data)],
    ];
    Report { side: "server", subject: domain.to_owned(), checks: checks.concat() }
}

async fn within(by: Instant, name: &'static str, checks: impl Future<Output = Vec<Check>>) -> Vec<Check> {
    timeout_at(by, checks).await.unwrap_or_else(|_| {
        let fault = Fault::new("it took too long", "check this machine's DNS, network and load");
        vec![Check::failed(name, fault)]
    })
}

/// That it could be read is why there are checks at all.
fn config(premises: &Premises) -> Check {
    match &premises.config {
        Some(path) => Check::ok("config", format!("{} can be read", path.display())),
        None => Check::skipped("config", "no file; to look at one: --config FILE"),
    }
}

#[cfg(test)]
mod tests;
