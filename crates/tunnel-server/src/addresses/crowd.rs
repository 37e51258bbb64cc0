//! How many of something each address has right now: a guard for each, so that none is ever counted twice or kept.
//!
//! It holds an entry for each address that has any, so it is as large as what is counted may be numerous, and no
//! larger. In shards: visitors of different addresses hardly ever wait for each other's lock.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const SHARDS: usize = 16;

/// Counts by address; clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd(Arc<Shards>);

#[derive(Debug, Default)]
struct Shards {
    chance: RandomState,
    shards: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
}

/// One that is counted, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted {
    crowd: Crowd,
    address: IpAddr,
}

impl Crowd {
    /// Counts one more for this address, or `None` if it has as many as it may.
    pub(crate) fn take(&self, address: IpAddr, limit: usize) -> Option<Counted> {
        let mut shard = self.shard(address);
        let count = shard.entry(address).or_default();
        if *count >= limit {
            if *count == 0 {
                shard.remove(&address);
            }
            return None;
        }
        *count += 1;
        Some(Counted { crowd: self.clone(), address })
    }

    fn shard(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        let [chance, ..] = self.0.chance.hash_one(address).to_le_bytes();
        self.0.shards[usize::from(chance) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.shards.iter().all(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).is_empty())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut shard = self.crowd.shard(self.address);
        if let Some(count) = shard.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_so_many_and_gives_them_back() {
        let crowd = Crowd::default();
        let [one, other] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        let first = crowd.take(one, 2).unwrap();
        let _second = crowd.take(one, 2).unwrap();
        assert!(crowd.take(one, 2).is_none());
        assert!(crowd.take(one, 3).is_some(), "the limit is what it is just then");
        let third = crowd.take(other, 2).unwrap();
        drop(first);
        assert!(crowd.take(one, 2).is_some());
        assert!(crowd.take(one, 0).is_none() && crowd.take([192, 0, 2, 3].into(), 0).is_none());
        drop((_second, third));
        assert!(crowd.is_empty(), "{crowd:?}");
    }
}
