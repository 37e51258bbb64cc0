//! What becomes of a session when its token's standing changes: revoked, it ends; with other rights, it loses the
//! tunnels it has no right to any more.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::MissedTickBehavior};
use tunnel_protocol::{Code, Refusal, ServerMessage};

use super::Control;
use crate::{rights::Rights, session::Session};

/// How often the authenticator is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a client may take to hear that it is out. One that doesn't listen is out as well.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Passes changes of the token's rights on, and ends when it is no longer valid. The client hears of that first.
///
/// # Cancel safety
/// Cancel safe.
pub(super) async fn watch(
    control: &Control,
    session: &Session,
    changes: &watch::Sender<Option<Arc<Rights>>>,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(rights) = control.authenticator.rights(&session.identity) else { break };
        changes.send_if_modified(|known| {
            let is_new = known.as_ref().is_none_or(|known| **known != *rights);
            *known = Some(rights);
            is_new
        });
    }
    let refusal = Refusal::permanent(Code::Revoked, "the token was revoked");
    let told = session.tell(ServerMessage::GoAway { refusal });
    let _ = tokio::time::timeout(LAST_WORDS, told).await;
    control.registry.revoke(session.identity.token);
}
