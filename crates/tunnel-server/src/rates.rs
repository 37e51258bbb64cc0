//! How often each of any number of addresses (or tokens) may come, in memory that doesn't grow.
//!
//! Each address has a bucket that holds a whole allowance and fills up evenly. All that is kept of a bucket is the
//! time at which it will be full again (the generic cell rate algorithm), in a cell that chance gives to the address,
//! and to others: there are fewer cells than addresses. So each address has a cell in each of several rows and is
//! refused only if all of them are empty; that two share all their cells is rare, and nobody can aim for it, as the
//! chance is drawn anew at each start.
//!
//! Nothing is ever forgotten to make room, so a flood of addresses can't give anybody its allowance back. It takes as
//! much from all cells together as from one, so before it matters to others it must come, all in all, at [`CELLS`]
//! times the rate of one address. There is no lock.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::config::Rate;

/// Cells of a row. Times [`ROWS`] times 8 bytes: 128 KiB.
const CELLS: usize = 1 << 13;
const ROWS: usize = 2;

/// So many for each address in so much time.
#[derive(Debug)]
pub(crate) struct Rates {
    began: Instant,
    chance: RandomState,
    /// When each bucket is full again, in ns since `began`: the rows, one after the other. There are none before the
    /// first comes, whom many tunnels and quiet servers never see.
    full_at: OnceLock<Box<[AtomicU64]>>,
}

impl Rates {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), chance: RandomState::new(), full_at: OnceLock::new() }
    }

    /// Takes one from the allowance of this address, or whatever `key` is, which is the given one from now on.
    ///
    /// # Errors
    /// There is none left: how long until there is.
    pub(crate) fn take(&self, key: impl Hash, rate: Rate) -> Result<(), Duration> {
        let (now, per) = (nanos(self.began.elapsed()), nanos(rate.per));
        let one = per / u64::from(rate.count).max(1);
        let cells = self.cells(key);
        let fullest = cells.iter().map(|cell| cell.load(Ordering::Relaxed)).min().unwrap_or(now);
        let over = (fullest.max(now) + one).saturating_sub(now + per);
        if over > 0 {
            return Err(Duration::from_nanos(over));
        }
        for cell in cells {
            let take = |full: u64| Some(full.max(now) + one);
            // It never says no.
            let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        }
        Ok(())
    }

    fn cells(&self, key: impl Hash) -> [&AtomicU64; ROWS] {
        let hash = self.chance.hash_one(key).to_le_bytes();
        let all = || std::iter::repeat_with(AtomicU64::default).take(CELLS * ROWS).collect();
        let full_at = self.full_at.get_or_init(all);
        std::array::from_fn(|row| {
            // Each row by bits of its own.
            let place = usize::from(u16::from_le_bytes([hash[2 * row], hash[2 * row + 1]])) % CELLS;
            &full_at[row * CELLS + place]
        })
    }
}

/// Enough for 580 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;

    const RATE: Rate = Rate { count: 10, per: Duration::from_secs(1) };

    fn address(n: u64) -> IpAddr {
        Ipv6Addr::from(u128::from(n) << 64).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_whole_allowance_at_once_or_evenly_and_no_more() {
        let rates = Rates::new();
        for _ in 0..2 {
            assert_eq!((0..20).filter(|_| rates.take(address(1), RATE).is_ok()).count(), 10);
            assert_eq!(rates.take(address(1), RATE), Err(Duration::from_millis(100)));
            tokio::time::advance(Duration::from_millis(100)).await;
            assert_eq!((0..5).filter(|_| rates.take(address(1), RATE).is_ok()).count(), 1);
            tokio::time::advance(Duration::from_secs(60)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_rate_counts_at_once() {
        let rates = Rates::new();
        assert_eq!((0..20).filter(|_| rates.take(address(1), RATE).is_ok()).count(), 10);
        let more = Rate { count: 1_000, ..RATE };
        assert!(rates.take(address(1), more).is_err(), "what was taken was all of a second's");
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!((0..200).filter(|_| rates.take(address(1), more).is_ok()).count(), 100);
        assert!(rates.take(address(1), RATE).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_addresses_neither_frees_one_that_is_over_nor_keeps_others_out() {
        let rates = Rates::new();
        while rates.take(address(0), RATE).is_ok() {}
        let mut taken = 0;
        for n in 1..=100_000_u64 {
            // Each comes once, which is 1.2 each second of a cell's ten.
            let _ = rates.take(address(n), RATE);
            if n % 1_000 == 0 {
                tokio::time::advance(Duration::from_millis(100)).await;
                taken += (0..5).filter(|_| rates.take(address(0), RATE).is_ok()).count();
            }
        }
        assert!((80..=100).contains(&taken), "{taken} in ten seconds");
        let others = 200_000..201_000_u64;
        let refused = others.filter(|n| rates.take(address(*n), RATE).is_err()).count();
        assert_eq!(refused, 0, "of a thousand who never came");
    }
}
