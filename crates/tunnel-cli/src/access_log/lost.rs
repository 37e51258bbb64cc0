//! Lines that are lost: counted, and told of at most every 10 s, since they are lost when much happens; but all of them
//! are told of in the end.

use std::{future::pending, io, time::Duration};

use tokio::time::{Instant, sleep_until};
use tracing::warn;

/// How often it is said that lines are lost.
const COMPLAINT: Duration = Duration::from_secs(10);

/// What was lost and not told of yet.
#[derive(Default)]
pub(super) struct Lost {
    lines: u64,
    why: Option<io::Error>,
    told: Option<Instant>,
}

impl Lost {
    /// So many exchanges came faster than they could be written.
    pub(super) fn missed(&mut self, lines: u64) {
        self.lines += lines;
    }

    /// So many lines couldn't be written.
    pub(super) fn failed(&mut self, lines: u64, why: io::Error) {
        self.lines += lines;
        self.why = Some(why);
    }

    /// Waits until there is something to tell, and it is time for it.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn due(&self) {
        match self.told {
            _ if self.lines == 0 => pending().await,
            None => {}
            Some(told) => sleep_until(told + COMPLAINT).await,
        }
    }

    /// Tells of it, if it is time.
    pub(super) fn tell(&mut self) {
        if self.told.is_none_or(|told| told.elapsed() >= COMPLAINT) {
            self.tell_the_rest();
        }
    }

    /// Tells of it in any case: this is the last chance.
    pub(super) fn tell_the_rest(&mut self) {
        match self.take() {
            (0, _) => {}
            (lines, Some(error)) => warn!(lines, %error, "lines of the access log are lost"),
            (lines, None) => {
                warn!(lines, "lines of the access log are lost: the disk is slower than visitors");
            }
        }
    }

    fn take(&mut self) -> (u64, Option<io::Error>) {
        if self.lines > 0 {
            self.told = Some(Instant::now());
        }
        (std::mem::take(&mut self.lines), self.why.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_lost_is_told_of_at_once_then_in_time_and_in_the_end() {
        let mut lost = Lost::default();
        lost.missed(3);
        lost.due().await;
        lost.tell();
        assert_eq!(lost.lines, 0);
        let told = Instant::now();
        lost.failed(2, io::ErrorKind::StorageFull.into());
        lost.tell();
        assert_eq!(lost.lines, 2, "it is too early");
        lost.due().await;
        assert_eq!(told.elapsed(), COMPLAINT);
        lost.tell();
        assert_eq!(lost.lines, 0);
        lost.missed(1);
        lost.tell();
        assert_eq!(lost.lines, 1, "it is too early again");
        lost.tell_the_rest();
        assert_eq!(lost.lines, 0);
    }
}
