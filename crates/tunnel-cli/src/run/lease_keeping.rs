//! Who keeps the file of leases: this server, until it drains or a successor takes over, and again once it has taken
//! everything back. Only one of two processes may, or an older state could be written over a newer one.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{broadcast, watch},
    task::JoinSet,
    time::timeout,
};
use tunnel_server::{Event, ServerHandle};

use crate::state::leases;

/// What steers the task that keeps the file; clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct LeaseKeeping {
    turn: Arc<watch::Sender<Turn>>,
    /// Whether the last leases have been written, and no more will be.
    rests: watch::Receiver<bool>,
}

/// Whose the file is: this process's at even numbers, a successor's at odd ones. Counted, so that a successor that came
/// and went while the disk was slow isn't missed.
type Turn = u64;

impl LeaseKeeping {
    /// Keeps the file in a task of this set, if it is this server's at all.
    pub(super) fn begin(
        (data, is_ours): (PathBuf, bool),
        handle: ServerHandle,
        events: broadcast::Receiver<Event>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let turn = Arc::new(watch::Sender::new(0));
        let (resting, rests) = watch::channel(!is_ours);
        if is_ours {
            let mut events = Some(events);
            let keep = move |is_anew| {
                let (data, handle) = (data.clone(), handle.clone());
                let events = events.take().unwrap_or_else(|| handle.subscribe());
                async move {
                    // What it holds from then on is what it has let go of.
                    if !handle.is_draining() {
                        leases::keep(&data, events, is_anew, || handle.leases()).await;
                    }
                }
            };
            tasks.spawn(take_turns(turn.subscribe(), resting, keep));
        }
        Self { turn, rests }
    }

    /// Leaves the file to a successor. To be called before the server hands over.
    pub(super) fn let_go(&self) {
        self.turn.send_modify(|turn| *turn |= 1);
    }

    /// Keeps the file again.
    pub(super) fn take_back(&self) {
        self.turn.send_modify(|turn| *turn += *turn & 1);
    }

    /// Waits until the last leases have been written, so long at most; whether they are.
    pub(super) async fn written(&self, patience: Duration) -> bool {
        matches!(timeout(patience, self.rests.clone().wait_for(|rests| *rests)).await, Ok(Ok(_)))
    }
}

/// Keeps the file whenever it is this process's turn. `keep` begins to watch when it is called, and ends when the server
/// hands over or drains; it is told whether it has been called before.
async fn take_turns<F: Future<Output = ()>>(
    mut turn: watch::Receiver<Turn>,
    resting: watch::Sender<bool>,
    mut keep: impl FnMut(bool) -> F,
) {
    let mut now = 0;
    loop {
        let keeping = keep(now > 0);
        resting.send_replace(false);
        // If it has been let go meanwhile, what is being watched may have begun after the last word.
        if *turn.borrow() == now {
            keeping.await;
        }
        resting.send_replace(true);
        let Ok(next) = turn.wait_for(|turn| *turn > now && *turn % 2 == 0).await.map(|turn| *turn) else {
            return;
        };
        now = next;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Semaphore, mpsc};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// A keeper that says when it begins, and ends when a permit is there: one whose disk is stuck has none.
    fn begin(tasks: &mut JoinSet<()>) -> (LeaseKeeping, mpsc::Receiver<bool>, Arc<Semaphore>) {
        let turn = Arc::new(watch::Sender::new(0));
        let (resting, rests) = watch::channel(false);
        let (began, begun) = mpsc::channel(8);
        let ends = Arc::new(Semaphore::new(0));
        let permits = ends.clone();
        let keep = move |is_anew| {
            began.try_send(is_anew).unwrap();
            let permits = permits.clone();
            async move { permits.acquire().await.unwrap().forget() }
        };
        tasks.spawn(take_turns(turn.subscribe(), resting, keep));
        (LeaseKeeping { turn, rests }, begun, ends)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_kept_in_turns() {
        let mut tasks = JoinSet::new();
        let (keeping, mut begun, ends) = begin(&mut tasks);
        assert_eq!(begun.recv().await, Some(false));
        for _ in 0..3 {
            keeping.let_go();
            ends.add_permits(1);
            assert!(keeping.written(PATIENCE).await);
            keeping.take_back();
            assert_eq!(begun.recv().await, Some(true), "all is looked at anew");
        }
        // A server that drains isn't taken back.
        ends.add_permits(1);
        assert!(keeping.written(PATIENCE).await);
        assert!(begun.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_disk_is_not_waited_for_and_not_written_to_by_two() {
        let mut tasks = JoinSet::new();
        let (keeping, mut begun, ends) = begin(&mut tasks);
        assert_eq!(begun.recv().await, Some(false));
        for _ in 0..2 {
            keeping.let_go();
            assert!(!keeping.written(PATIENCE).await, "the last write is under way");
            keeping.take_back();
        }
        keeping.let_go();
        ends.add_permits(1);
        assert!(keeping.written(PATIENCE).await);
        assert!(begun.try_recv().is_err(), "it is a successor's");
        keeping.take_back();
        assert_eq!(begun.recv().await, Some(true));
        assert!(!keeping.written(Duration::ZERO).await);
    }
}
