//! The connections of the port. Anybody may make some, and keep them for as long as they like, so when all places are
//! taken a newcomer gets that of the stranger who has had one for longest: whoever shows what lets it in has a moment
//! for that, and keeps its place from then on.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::task::{AbortHandle, JoinSet};

/// Connections at a time. Few beside what is kept back of a process's open files, since anybody may make them.
const MOST: usize = 64;

/// The connections, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    connections: JoinSet<()>,
    places: VecDeque<Place>,
}

#[derive(Debug)]
struct Place {
    connection: AbortHandle,
    known: Known,
}

/// Whether somebody was let in on a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<AtomicBool>);

impl Known {
    /// Somebody was.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Crowd {
    /// Serves one more. Without any place it is dropped.
    pub(super) fn admit<F: Future<Output = ()> + Send + 'static>(&mut self, serve: impl FnOnce(Known) -> F) {
        while self.connections.try_join_next().is_some() {}
        self.places.retain(|place| !place.connection.is_finished());
        if self.places.len() >= MOST {
            let stranger = self.places.iter().position(|place| !place.known.get());
            let Some(stranger) = stranger.and_then(|at| self.places.remove(at)) else { return };
            stranger.connection.abort();
        }
        let known = Known::default();
        let connection = self.connections.spawn(serve(known.clone()));
        self.places.push_back(Place { connection, known });
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// A connection that says nothing, until it is dropped.
    fn silent(crowd: &mut Crowd, is_known: bool) -> oneshot::Receiver<()> {
        let (open, closed) = oneshot::channel();
        crowd.admit(|known| {
            if is_known {
                known.set();
            }
            async move {
                let _open: oneshot::Sender<()> = open;
                std::future::pending::<()>().await;
            }
        });
        closed
    }

    #[tokio::test]
    async fn the_oldest_stranger_makes_room_and_nobody_who_is_known() {
        let mut crowd = Crowd::default();
        let known = silent(&mut crowd, true);
        let strangers: Vec<_> = (1..MOST).map(|_| silent(&mut crowd, false)).collect();
        let (served, is_served) = oneshot::channel();
        crowd.admit(|_| async move { served.send(()).unwrap() });
        is_served.await.expect("a newcomer is served");
        let mut strangers = strangers.into_iter();
        assert!(strangers.next().unwrap().await.is_err(), "in the place of the oldest stranger");
        // Those who take the places of all other strangers stay.
        let mut all_known: Vec<_> = (1..MOST).map(|_| silent(&mut crowd, true)).collect();
        for stranger in strangers {
            assert!(stranger.await.is_err());
        }
        assert!(silent(&mut crowd, false).await.is_err(), "there is no room, and nobody has to go");
        all_known.push(known);
        for known in &mut all_known {
            assert_eq!(known.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        }
    }
}
