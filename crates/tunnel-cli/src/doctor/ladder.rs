//! Checks of which each stands on those before it.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::check::{Check, Fault};

/// Checks so far.
#[derive(Debug)]
pub(super) struct Ladder {
    checks: Vec<Check>,
    deadline: Instant,
}

impl Ladder {
    pub(super) fn new(deadline: Instant) -> Self {
        Self { checks: Vec::new(), deadline }
    }

    /// Does the next check, within `limit` and what is left of all time. `None`: it failed, and what stands on it can't
    /// be looked at.
    pub(super) async fn climb<T>(
        &mut self,
        name: &'static str,
        limit: Duration,
        check: impl Future<Output = Result<(T, String), Fault>>,
    ) -> Option<T> {
        let by = self.deadline.min(Instant::now() + limit);
        let found = timeout_at(by, check).await.unwrap_or_else(|_| {
            Err(Fault::new(
                "there was no answer in the time that was left",
                "look at what was slow above, and at this machine's load",
            ))
        });
        match found {
            Ok((value, finding)) => {
                self.note(Check::ok(name, finding));
                Some(value)
            }
            Err(fault) => {
                self.note(Check::failed(name, fault));
                None
            }
        }
    }

    pub(super) fn note(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// All checks in the order of `names`; those that weren't reached say what kept them.
    pub(super) fn finish(mut self, names: &[&'static str]) -> Vec<Check> {
        let failed = self.checks.iter().find(|check| check.status == super::check::Status::Failed);
        let reason = failed.map_or_else(String::new, |check| format!("`{}` failed", check.name));
        let place = |check: &Check| names.iter().position(|name| *name == check.name);
        for name in names {
            if !self.checks.iter().any(|check| check.name == *name) {
                self.checks.push(Check::skipped(name, reason.clone()));
            }
        }
        self.checks.sort_by_key(place);
        self.checks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_stands_on_a_failure_is_skipped_with_its_reason() {
        let mut ladder = Ladder::new(Instant::now() + Duration::from_secs(9));
        let first = ladder.climb("a", Duration::from_secs(1), async { Ok((1, "fine".into())) }).await;
        assert_eq!(first, Some(1));
        let never = std::future::pending::<Result<((), String), Fault>>();
        assert_eq!(ladder.climb("b", Duration::from_secs(1), never).await, None);
        let checks = ladder.finish(&["a", "b", "c"]);
        assert_eq!(checks[0], Check::ok("a", "fine"));
        assert!(checks[1].cure.is_some());
        assert_eq!(checks[2], Check::skipped("c", "`b` failed"));
    }

    #[tokio::test(start_paused = true)]
    async fn no_check_outlasts_the_deadline_of_all() {
        let start = Instant::now();
        let mut ladder = Ladder::new(start + Duration::from_secs(3));
        let never = std::future::pending::<Result<((), String), Fault>>();
        ladder.climb("a", Duration::from_secs(60), never).await;
        assert_eq!(start.elapsed(), Duration::from_secs(3));
    }
}
