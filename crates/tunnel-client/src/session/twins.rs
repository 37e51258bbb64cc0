//! Which two streams of a session are one visitor's: the one that comes first is served, the other is brought to it.
//!
//! Either may come first, or alone. So each pair is remembered until both have come: whoever is late must not be
//! taken for a new visitor, or the upstream would be asked twice.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};
use tunnel_io::{Coming, Twinned};
use tunnel_mux::Stream;
use tunnel_protocol::{Twin, limits::TWIN_BYTES};

/// How long a twin's visitor waits for the primary: longer than a dead lane takes to be noticed (15 s by default), which
/// ends the visitor as well.
const PRIMARY_PATIENCE: Duration = Duration::from_secs(20);
/// How long a twin is waited for: servers drop theirs after as much.
const TWIN_PATIENCE: Duration = Duration::from_secs(10);
/// Pairs of which one is waited for, at once; more visitors are served by one stream.
const MOST_WAITED_FOR: usize = 4096;
/// Of those that are over and of which one hasn't come, so many are remembered one by one, of each kind.
const MOST_OVER: usize = 1024;
/// The client's first reply is on each of the two before they meet.
const SAID: usize = 1;

/// A visitor being served, to be polled by whoever has it.
pub(super) type Visit = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The pairs of one session.
#[derive(Default)]
pub(super) struct Twins(Mutex<Table>);

#[derive(Default)]
struct Table {
    waiting: HashMap<u64, Waiting>,
    without_twin: Late,
    without_primary: Late,
}

/// What the stream that comes is brought to.
enum Waiting {
    ForTwin(oneshot::Sender<Stream>),
    ForPrimary(oneshot::Sender<Stream>, Mover),
}

/// Takes a visitor over from the task of its twin: its primary's lane is the one it lives and dies with.
type Mover = oneshot::Sender<oneshot::Sender<Visit>>;

/// Pairs that are over and of which one stream is still to come, or never will.
#[derive(Default)]
struct Late {
    numbers: BTreeSet<u64>,
    /// Of these and those before it may have been some: all late ones are taken for them. A session's pairs are counted.
    forgotten: u64,
}

/// What is to be done with a stream of a pair.
pub(super) enum Meeting {
    /// Serve it.
    First(Box<First>),
    /// Bring it to who is served.
    Second(Second),
    /// Reset it: its pair is over.
    Over,
}

/// A stream to be served, whose other half is waited for.
pub(super) struct First {
    other: oneshot::Receiver<Stream>,
    is_twin: bool,
    place: Place,
    /// Of a twin: who will want the visitor.
    pub(super) moves: Option<oneshot::Receiver<oneshot::Sender<Visit>>>,
}

/// A stream that was waited for.
pub(super) struct Second {
    to: oneshot::Sender<Stream>,
    mover: Option<Mover>,
}

/// Ends the waiting when dropped.
struct Place {
    twins: Arc<Twins>,
    number: u64,
}

impl Twins {
    /// Where a stream of a pair belongs.
    pub(super) fn meet(self: &Arc<Self>, twin: Twin) -> Meeting {
        let mut table = self.lock();
        let (Twin::Expected(number) | Twin::Of(number)) = twin;
        match (twin, table.waiting.remove(&number)) {
            (Twin::Of(_), Some(Waiting::ForTwin(to))) => return Meeting::Second(Second { to, mover: None }),
            (Twin::Expected(_), Some(Waiting::ForPrimary(to, mover))) => {
                return Meeting::Second(Second { to, mover: Some(mover) });
            }
            // One of a kind is enough.
            (_, Some(waiting)) => {
                table.waiting.insert(number, waiting);
                return Meeting::Over;
            }
            (_, None) => {}
        }
        let is_full = table.waiting.len() >= MOST_WAITED_FOR;
        let late = table.late(twin);
        if late.is_over(number) || (is_full && matches!(twin, Twin::Of(_))) {
            return Meeting::Over;
        }
        let (to, other) = oneshot::channel();
        let (waiting, moves) = match twin {
            Twin::Expected(_) => (Waiting::ForTwin(to), None),
            Twin::Of(_) => {
                let (mover, moves) = oneshot::channel();
                (Waiting::ForPrimary(to, mover), Some(moves))
            }
        };
        if is_full {
            table.without_twin.add(number);
        } else {
            table.waiting.insert(number, waiting);
        }
        let (place, is_twin) = (Place { twins: Arc::clone(self), number }, moves.is_some());
        Meeting::First(Box::new(First { other, is_twin, place, moves }))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Where those like this one are remembered.
    fn late(&mut self, twin: Twin) -> &mut Late {
        match twin {
            Twin::Expected(_) => &mut self.without_primary,
            Twin::Of(_) => &mut self.without_twin,
        }
    }
}

impl Late {
    fn add(&mut self, number: u64) {
        self.numbers.insert(number);
        if self.numbers.len() > MOST_OVER
            && let Some(first) = self.numbers.pop_first()
        {
            self.forgotten = self.forgotten.max(first);
        }
    }

    /// Whether one that comes is late, for which it needn't be remembered any more.
    fn is_over(&mut self, number: u64) -> bool {
        self.numbers.remove(&number) || number <= self.forgotten
    }
}

impl First {
    /// The stream to serve, on which the first reply was sent.
    pub(super) fn twinned(self, stream: Stream) -> Twinned<Stream> {
        let Self { other, is_twin, place, .. } = self;
        let patience = if is_twin { PRIMARY_PATIENCE } else { TWIN_PATIENCE };
        let other: Coming<Stream> = Box::pin(async move {
            let _place = place;
            timeout(patience, other).await.ok()?.ok()
        });
        if is_twin {
            Twinned::of_twin(stream, other, TWIN_BYTES, SAID)
        } else {
            Twinned::of_primary(stream, other, TWIN_BYTES, SAID)
        }
    }
}

impl Second {
    /// Brings the stream, on which the first reply was sent. A visitor that its twin's task has served until now is to be
    /// taken over then. Nobody may be there any more; then the stream is reset.
    pub(super) fn bring(self, stream: Stream) -> Option<oneshot::Receiver<Visit>> {
        self.to.send(stream).ok()?;
        let (to, visit) = oneshot::channel();
        self.mover?.send(to).ok()?;
        Some(visit)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.twins.lock();
        if let Entry::Occupied(waiting) = table.waiting.entry(self.number) {
            match waiting.remove() {
                Waiting::ForTwin(_) => table.without_twin.add(self.number),
                Waiting::ForPrimary(..) => table.without_primary.add(self.number),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(twins: &Arc<Twins>, twin: Twin) -> Box<First> {
        match twins.meet(twin) {
            Meeting::First(first) => first,
            Meeting::Second(_) | Meeting::Over => panic!("{twin:?} isn't the first"),
        }
    }

    fn is_over(twins: &Arc<Twins>, twin: Twin) -> bool {
        matches!(twins.meet(twin), Meeting::Over)
    }

    #[test]
    fn who_is_late_begins_nothing_however_many_are() {
        let twins = Arc::<Twins>::default();
        for number in 1..=3 * MOST_OVER as u64 {
            drop(first(&twins, Twin::Expected(number)));
        }
        assert_eq!(twins.lock().without_twin.numbers.len(), MOST_OVER);
        for number in [1, 2 * MOST_OVER as u64, 3 * MOST_OVER as u64] {
            assert!(is_over(&twins, Twin::Of(number)), "{number}");
        }
        // Where twins are missing no primary is.
        first(&twins, Twin::Expected(1));
        first(&twins, Twin::Of(3 * MOST_OVER as u64 + 1));
        assert!(is_over(&twins, Twin::Expected(3 * MOST_OVER as u64 + 1)));
    }

    #[test]
    fn both_meet_in_either_order_and_nothing_is_left() {
        let twins = Arc::<Twins>::default();
        for (one, other) in [(Twin::Expected(1), Twin::Of(1)), (Twin::Of(2), Twin::Expected(2))] {
            let first = first(&twins, one);
            assert!(matches!(twins.meet(other), Meeting::Second(_)));
            drop(first);
        }
        let table = twins.lock();
        assert!(table.waiting.is_empty());
        assert!(table.without_twin.numbers.is_empty() && table.without_primary.numbers.is_empty());
    }

    #[test]
    fn beyond_the_most_waited_for_visitors_are_served_by_their_primaries() {
        let twins = Arc::<Twins>::default();
        let most = MOST_WAITED_FOR as u64;
        let _waiting: Vec<_> = (1..=most).map(|number| first(&twins, Twin::Of(number))).collect();
        assert!(is_over(&twins, Twin::Of(most + 1)));
        first(&twins, Twin::Expected(most + 1));
        let _served = first(&twins, Twin::Expected(most + 2));
        assert!(is_over(&twins, Twin::Of(most + 2)));
        assert_eq!(twins.lock().waiting.len(), MOST_WAITED_FOR);
    }
}
