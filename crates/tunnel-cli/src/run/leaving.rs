//! A client that was asked to end: what is told of it, and when.

use std::{ops::Deref, pin::Pin, time::Duration};

use tokio::time::{Sleep, sleep};
use tunnel_client::Client;

/// How long after the begin it is said who is waited for: by then the server has let go of idle connections to
/// upstreams, which are visitors to the client.
const FIRST_LOOK: Duration = Duration::from_millis(300);

/// How long before the end those are counted whom it cuts off.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// A client that leaves.
pub(super) struct Leaving<'a> {
    /// How many visitors were cut off.
    over: Pin<Box<dyn Future<Output = usize> + Send + 'a>>,
    first_look: Option<Pin<Box<Sleep>>>,
}

/// What there is to be told of a client that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// It waits for the visitors that it has.
    Waits,
    /// It has left.
    Over {
        /// Visitors that were cut off.
        cut: usize,
    },
}

impl<'a> Leaving<'a> {
    /// Begins to leave in order.
    pub(super) fn begin(client: impl Deref<Target = Client> + Send + 'a, grace: Duration) -> Self {
        let over = Box::pin(async move { leave(&client, grace).await });
        Self { over, first_look: Some(Box::pin(sleep(FIRST_LOOK))) }
    }
}

/// What there is to be told next of a client, if it leaves.
///
/// # Cancel safety
/// Cancel safe.
pub(super) async fn parting(leaving: &mut Option<Leaving<'_>>) -> Parting {
    let Some(Leaving { over, first_look }) = leaving else { return std::future::pending().await };
    if let Some(look) = first_look {
        tokio::select! {
            biased;
            cut = &mut *over => return Parting::Over { cut },
            () = look => {}
        }
        *first_look = None;
        return Parting::Waits;
    }
    Parting::Over { cut: over.await }
}

async fn leave(client: &Client, grace: Duration) -> usize {
    let mut drain = std::pin::pin!(client.drain(grace));
    tokio::select! {
        biased;
        () = &mut drain => 0,
        // Once it has ended, nobody knows any more who was there.
        () = sleep(grace.saturating_sub(LAST_LOOK)) => {
            let visitors = client.status().visitors;
            drain.await;
            visitors
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn leaving(over: impl Future<Output = usize> + Send + 'static) -> Option<Leaving<'static>> {
        // sleep: the clock is paused
        Some(Leaving { over: Box::pin(over), first_look: Some(Box::pin(sleep(FIRST_LOOK))) })
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_waited_for_is_told_once_and_not_before_the_idle_are_gone() {
        let mut soon = leaving(async {
            // sleep: the clock is paused
            sleep(FIRST_LOOK / 2).await;
            0
        });
        assert_eq!(parting(&mut soon).await, Parting::Over { cut: 0 });
        let mut later = leaving(async {
            // sleep: the clock is paused
            sleep(FIRST_LOOK * 2).await;
            3
        });
        assert_eq!(parting(&mut later).await, Parting::Waits);
        assert_eq!(parting(&mut later).await, Parting::Over { cut: 3 });
        // Others' turns don't begin the time anew.
        let (mut never, began) = (leaving(pending()), tokio::time::Instant::now());
        for _ in 0..9 {
            tokio::select! {
                biased;
                _ = parting(&mut never) => unreachable!("it is too early"),
                // sleep: the clock is paused
                () = sleep(FIRST_LOOK / 10) => {}
            }
        }
        assert_eq!(parting(&mut never).await, Parting::Waits);
        assert!(began.elapsed() < FIRST_LOOK * 11 / 10);
        assert_eq!(parting(&mut leaving(ready(1))).await, Parting::Over { cut: 1 });
    }
}
