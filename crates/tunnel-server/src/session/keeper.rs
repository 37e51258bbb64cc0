//! Has the client bring lanes, and takes them back.
//!
//! One decision a second at most. Lanes are closed in an order that no visitor and no client notices: first no stream
//! is opened on the lane any more, then the client hears that fewer are wanted, and when it has surely heard, the
//! lane is closed.

use std::{convert::Infallible, sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tracing::debug;
use tunnel_protocol::ServerMessage;

use super::{
    Session,
    demand::{Demand, Look},
};

/// Between two looks, and so between two decisions.
const LOOK: Duration = Duration::from_secs(1);
/// For the client to say that it has heard that a lane goes. One that hasn't may bring the lane back, no more.
const TOLD: Duration = Duration::from_secs(10);

/// Keeps as many lanes as are of use, until the session ends. A further lane goes when it was of no use for `idle`.
pub(crate) async fn keep(session: &Session, idle: Duration) -> Infallible {
    let start = Instant::now();
    let mut demand = Demand::new(session.max_lanes, idle);
    loop {
        session.stir().await;
        let sight = session.lanes.look();
        let path = session.path();
        let look = Look {
            at: start.elapsed(),
            long: path.is_long(),
            opened: sight.opened,
            live: sight.visitors,
            capacity: sight.capacity,
            // The heartbeat runs on the first lane: what delays it delays everybody there.
            crowded: sight.crowded.max(u32::from(path.is_inflated() && sight.visitors > 0)),
        };
        let wanted = demand.look(look);
        if wanted > sight.lanes {
            session.want_lanes(wanted);
        } else if wanted < sight.lanes
            && let Some(number) = session.lanes.retire_one()
        {
            debug!(session.id = %session.id, lane = number, "a lane of no use is closed");
            let fewer = sight.lanes - 1;
            session.wanted_lanes.store(fewer, Ordering::Relaxed);
            let _ = timeout(TOLD, session.tell(ServerMessage::WantLanes { lanes: fewer })).await;
            session.lanes.close(number);
        }
        sleep(idle.min(LOOK)).await;
    }
}
