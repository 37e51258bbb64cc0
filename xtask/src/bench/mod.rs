//! `cargo xtask bench`: what a tunnel costs, beside no tunnel and beside its peers, in one run on one machine.
//!
//! Absolute figures move with the machine and with what else it does. So the systems take turns (A B C, A B C, …),
//! each as real processes with real sockets on loopback; medians are shown with their range, and ratios are taken
//! within a round. CPU seconds are the figures to trust on a busy machine. `docs/BENCHMARKS.md` says how to read it.

mod build;
mod machine;
mod systems;

mod measures;
mod samples;
mod suites;

mod load;
mod place;
pub(crate) mod upstream;

pub(crate) mod wan;

pub(crate) mod keeper;
mod process;

mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use keeper::Keeper;
use machine::Machine;
use measures::Suite;
use place::Place;
use samples::Samples;
use systems::System;
use upstream::Upstream;

/// What to measure, how often and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Turns of each system.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of each measurement under load.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// The long-link table instead: 100 ms round trip, 1 Gbit/s, without loss and with it, between two network
    /// namespaces. Needs root, /dev/net/tun and `ip`.
    #[arg(long, conflicts_with = "only")]
    wan: bool,
    /// Suites; all by default.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Suite>,
    /// Measure bore and rathole too, installed from their registry into the target directory.
    #[arg(long)]
    peers: bool,
    /// Systems by name, as the columns are headed; all by default.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    systems: Vec<String>,
    /// This `tunnel` binary, instead of a release build of this checkout.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Another `tunnel` binary, as two more columns: an older build, or a script that sets LD_PRELOAD and execs one.
    #[arg(long, value_name = "NAME=PATH")]
    also: Vec<String>,
    /// All samples as JSON instead of a page.
    #[arg(long)]
    json: bool,
}

/// Builds, measures and reports; `Ok(false)` when a measurement failed.
///
/// # Errors
/// When something can't be built or installed, and when nothing at all could be measured.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    process::raise_open_files();
    ensure!(
        arguments.seconds > 0.0 && arguments.seconds <= 600.0,
        "--seconds takes more than 0, at most 600"
    );
    let systems = systems(arguments)?;
    let machine = Machine::now()?;
    let keeper = Keeper::start()?;
    if arguments.wan {
        return wan::run(arguments, &keeper, &machine, &systems);
    }
    let place = Place::Loopback;
    let upstream = Upstream::start(&keeper, &place)?;
    let suites = if arguments.only.is_empty() { Suite::ALL.to_vec() } else { arguments.only.clone() };
    let world = suites::World {
        keeper: &keeper,
        place: &place,
        upstream: upstream.port(),
        span: Duration::from_secs_f64(arguments.seconds),
    };

    let mut samples = Samples::default();
    for round in 0..arguments.rounds {
        for suite in &suites {
            let able = |system: &&System| suite.suits(system);
            for system in systems.iter().filter(able) {
                eprintln!("round {}/{}: {suite:?} of {}", round + 1, arguments.rounds, system.name());
                match suite.run(&world, system) {
                    Ok(figures) => samples.add(round, system.name(), figures),
                    Err(error) => samples.fail(format!("{suite:?} of {}: {error:#}", system.name())),
                }
            }
        }
    }
    report(arguments, &machine, &systems, &samples)
}

/// Prints what was measured; whether nothing failed.
fn report(arguments: &Arguments, machine: &Machine, systems: &[System], samples: &Samples) -> Result<bool> {
    ensure!(!samples.is_empty(), "nothing could be measured: {}", samples.failures().join("; "));
    let names: Vec<&str> = systems.iter().map(System::name).collect();
    let run = report::Run { machine, rounds: arguments.rounds, seconds: arguments.seconds };
    let report = if arguments.json {
        report::json(&run, &names, samples)?
    } else {
        report::page(&run, &names, samples)
    };
    println!("{report}");
    for failure in samples.failures() {
        eprintln!("FAILED: {failure}");
    }
    Ok(samples.failures().is_empty())
}

/// The systems asked for, in the order of their columns and turns.
fn systems(arguments: &Arguments) -> Result<Vec<System>> {
    let binary = match &arguments.binary {
        Some(path) => path.canonicalize().with_context(|| format!("--binary {}", path.display()))?,
        None => build::tunnel()?,
    };
    let mut systems = vec![System::direct()];
    systems.extend(System::tunnels("tunnel", &binary));
    for other in &arguments.also {
        let (name, path) = other.split_once('=').context("--also takes NAME=PATH")?;
        let path = PathBuf::from(path).canonicalize().with_context(|| format!("--also {other}"))?;
        systems.extend(System::tunnels(name, &path));
    }
    if arguments.peers {
        systems.extend(build::peers()?);
    }
    if !arguments.systems.is_empty() {
        for name in &arguments.systems {
            ensure!(
                systems.iter().any(|system| system.name() == name),
                "there is no system `{name}`: {}",
                systems.iter().map(System::name).collect::<Vec<_>>().join(", ")
            );
        }
        systems.retain(|system| arguments.systems.iter().any(|name| system.name() == name));
    }
    Ok(systems)
}
