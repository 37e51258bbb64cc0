//! What scenarios are made of.

mod fault;
mod runner;
mod world;

mod output;
mod process;
mod procfs;

mod held;
mod laptop;
mod vps;

mod browser;
mod bytes;
mod http2;
mod load;
mod rate;
mod silent;
mod steady;

pub(crate) use self::{
    browser::{Browser, View},
    bytes::Pattern,
    fault::{Fault, Outcome, Told, check},
    held::HeldSockets,
    http2::{Http2, ask as http2_ask},
    laptop::{Laptop, Online},
    load::Load,
    output::Line,
    process::Process,
    procfs::open_files_limit,
    runner::{Choice, Scenario, run},
    silent::{SILENT_UPSTREAM, SilentUpstream, silent_upstream},
    steady::{Goal, Steady, Visits, mirror},
    vps::{Server, Vps},
    world::{Ended, World},
};

use std::{future::Future, path::Path, time::Duration};

/// How long anything may take that isn't about time: far longer than it needs, also on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> Outcome<T> {
    tokio::time::timeout(PATIENCE, future)
        .await
        .map_err(|_| Fault::new(format!("{what}: not within {} s", PATIENCE.as_secs())))
}

/// Waits until a figure of another process is as it should be.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> Outcome<bool>) -> Outcome {
    let polling = async {
        while !is_so()? {
            // sleep: /proc tells nobody when it changes
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    within(what, polling).await?
}

/// Waits until a file that another process writes has `part` in it.
pub(crate) async fn written(path: &Path, part: &str) -> Outcome {
    let what = format!("`{part}` in {}", path.display());
    until(&what, || Ok(std::fs::read_to_string(path).is_ok_and(|text| text.contains(part)))).await
}

/// A duration for people.
pub(crate) fn ms(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

/// `p50 12 ms, max 30 ms`
pub(crate) fn spread(mut durations: Vec<Duration>) -> String {
    durations.sort_unstable();
    match (durations.get(durations.len() / 2), durations.last()) {
        (Some(median), Some(max)) => format!("p50 {}, max {}", ms(*median), ms(*max)),
        _ => "none".into(),
    }
}
