//! Runs scenarios one after the other and says what came of each.

use std::{future::Future, path::Path, pin::Pin, process::ExitCode, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::Instant,
};

use super::{Fault, Outcome, World, procfs};

/// Something that must hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// A sentence.
    pub(crate) name: &'static str,
    /// Tries it; gives the figures it measured.
    pub(crate) run: fn(Arc<World>) -> Trying,
}

/// A scenario under way.
type Trying = Pin<Box<dyn Future<Output = Outcome<String>> + Send>>;

/// What to run.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    long: bool,
    /// Part of the names; empty: all.
    names: Vec<String>,
}

/// How long one scenario may take before it counts as frozen: short and long variant.
const LIMITS: [Duration; 2] = [Duration::from_secs(300), Duration::from_secs(3 * 3600)];

impl Choice {
    /// Reads `[--long] [PART-OF-A-NAME]...`.
    ///
    /// # Errors
    /// An unknown flag, in words.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut choice = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--long" => choice.long = true,
                flag if flag.starts_with('-') => {
                    return Err(format!("`{flag}` is unknown; there is `--long`, and parts of names"));
                }
                name => choice.names.push(name.to_owned()),
            }
        }
        Ok(choice)
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        self.names.is_empty() || self.names.iter().any(|part| scenario.name.contains(part))
    }
}

/// Runs what was chosen.
pub(crate) fn run(binary: &Path, scenarios: Vec<Scenario>, choice: &Choice) -> ExitCode {
    procfs::raise_open_files();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime can't start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let chosen: Vec<Scenario> = scenarios.into_iter().filter(|scenario| choice.wants(scenario)).collect();
    runtime.block_on(async {
        tokio::select! {
            status = run_all(binary, &chosen, choice.long) => status,
            () = asked_to_stop() => ExitCode::FAILURE,
        }
    })
}

async fn run_all(binary: &Path, scenarios: &[Scenario], long: bool) -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    for scenario in scenarios {
        let started = Instant::now();
        let world = match World::new(binary.to_owned(), long) {
            Ok(world) => Arc::new(world),
            Err(fault) => {
                println!("FAILED {}: {fault}", scenario.name);
                failed += 1;
                continue;
            }
        };
        let outcome = try_one(scenario, world.clone()).await;
        let took = started.elapsed().as_secs_f32();
        match outcome {
            Ok(figures) => {
                passed += 1;
                println!("ok     {} ({took:.1} s): {figures}", scenario.name);
            }
            Err(fault) => {
                failed += 1;
                println!("FAILED {} ({took:.1} s): {fault}", scenario.name);
                world.print_output();
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// In a task of its own, so that a panic is this scenario's failure and no other's.
async fn try_one(scenario: &Scenario, world: Arc<World>) -> Outcome<String> {
    let limit = LIMITS[usize::from(world.long)];
    let mut task = JoinSet::new();
    task.spawn((scenario.run)(world));
    match tokio::time::timeout(limit, task.join_next()).await {
        Ok(Some(Ok(outcome))) => outcome,
        Ok(Some(Err(panic))) => Err(panic.into()),
        Ok(None) => Err(Fault::new("the scenario never began")),
        Err(_) => {
            task.shutdown().await;
            Err(Fault::new(format!("frozen: not over after {} s", limit.as_secs())))
        }
    }
}

/// By returning, everything is dropped and every process killed.
async fn asked_to_stop() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
