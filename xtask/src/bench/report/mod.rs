//! The outcome: a page for people (Markdown, as `docs/BENCHMARKS.md` holds it), or all samples for scripts.

mod page;

use anyhow::Result;
use serde_json::{Map, Value, json};

pub(super) use page::page;

use super::machine::Machine;
use super::measures::MEASURES;
use super::samples::Samples;

/// How the figures came about.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) machine: &'a Machine,
    pub(super) rounds: u32,
    pub(super) seconds: f64,
}

/// Every sample, by measure and system, in the order of the rounds.
///
/// # Errors
/// A figure that JSON has no word for.
pub(super) fn json(run: &Run<'_>, systems: &[&str], samples: &Samples) -> Result<String> {
    let mut measures = Map::new();
    for measure in MEASURES {
        let by_system: Map<String, Value> = systems
            .iter()
            .map(|system| (*system, samples.of(measure.key, system)))
            .filter(|(_, samples)| !samples.is_empty())
            .map(|(system, samples)| (system.to_owned(), json!(samples)))
            .collect();
        if !by_system.is_empty() {
            measures.insert(measure.key.to_owned(), json!({ "title": measure.title, "samples": by_system }));
        }
    }
    Ok(serde_json::to_string_pretty(&json!({
        "machine": run.machine,
        "rounds": run.rounds,
        "seconds": run.seconds,
        "measures": measures,
        "failures": samples.failures(),
    }))?)
}
