//! Everything that was measured, by measure and system, and how many rounds become one figure.

use std::collections::BTreeMap;

use super::suites::Figures;

/// All samples of a run. Rounds are kept apart: ratios are taken within one.
#[derive(Debug, Default)]
pub(super) struct Samples {
    by_line: BTreeMap<(&'static str, String), BTreeMap<u32, f64>>,
    failures: Vec<String>,
}

impl Samples {
    /// Adds what one system showed in one round.
    pub(super) fn add(&mut self, round: u32, system: &str, figures: Figures) {
        for (key, figure) in figures {
            self.by_line.entry((key, system.to_owned())).or_default().insert(round, figure);
        }
    }

    /// Notes a measurement that failed.
    pub(super) fn fail(&mut self, what: String) {
        eprintln!("{what}");
        self.failures.push(what);
    }

    /// The measurements that failed.
    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Whether nothing was measured.
    pub(super) fn is_empty(&self) -> bool {
        self.by_line.is_empty()
    }

    /// The samples of one measure of one system, in the order of the rounds.
    pub(super) fn of(&self, key: &'static str, system: &str) -> Vec<f64> {
        self.rounds(key, system).map_or_else(Vec::new, |rounds| rounds.values().copied().collect())
    }

    /// One system's figure divided by another's, for each round that has both.
    pub(super) fn ratios(&self, key: &'static str, system: &str, to: &str) -> Vec<f64> {
        let Some((ours, theirs)) = self.rounds(key, system).zip(self.rounds(key, to)) else {
            return Vec::new();
        };
        ours.iter().filter_map(|(round, ours)| theirs.get(round).map(|theirs| ours / theirs)).collect()
    }

    fn rounds(&self, key: &'static str, system: &str) -> Option<&BTreeMap<u32, f64>> {
        self.by_line.get(&(key, system.to_owned()))
    }
}

/// A median with the range it was taken from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Summary {
    /// Of at least one sample.
    pub(super) fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let (&min, &max) = (samples.first()?, samples.last()?);
        let middle = samples.len() / 2;
        let median = if samples.len() % 2 == 1 {
            samples[middle]
        } else {
            f64::midpoint(samples[middle - 1], samples[middle])
        };
        Some(Self { median, min, max })
    }
}

/// The value that `percent` of the sorted samples don't exceed; the default of none.
pub(super) fn percentile<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut samples = Samples::default();
        samples.add(0, "a", vec![("x", 1.0)]);
        samples.add(1, "a", vec![("x", 20.0)]);
        samples.add(2, "a", vec![("x", 3.0)]);
        samples.add(0, "b", vec![("x", 2.0)]);
        samples.add(1, "b", vec![("x", 40.0)]);
        assert_eq!(samples.ratios("x", "a", "b"), [0.5, 0.5]);
        assert_eq!(samples.of("x", "a"), [1.0, 20.0, 3.0]);
        assert!(samples.ratios("x", "a", "c").is_empty());
    }

    #[test]
    fn a_summary_is_the_middle_and_the_ends() {
        let summary = Summary::of(vec![3.0, 1.0, 2.0]);
        assert_eq!(summary, Some(Summary { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Summary::of(vec![4.0, 1.0]).map(|summary| summary.median), Some(2.5));
        assert_eq!(Summary::of(Vec::new()), None);
    }

    #[test]
    fn percentiles_are_samples() {
        let sorted: Vec<u32> = (1..=200).collect();
        assert_eq!((percentile(&sorted, 50), percentile(&sorted, 99)), (100, 198));
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile::<u32>(&[], 50), 0);
    }
}
