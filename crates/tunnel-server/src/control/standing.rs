//! What becomes of a session when its token's standing changes: revoked, expired or given a new secret, it ends; with
//! other rights, it loses the tunnels it has no right to any more.
//!
//! Whoever keeps the tokens says when to look (`Authenticator::changes`), so that a change bites at once; the clock
//! alone brings an expiry about.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::watch, time::sleep};
use tunnel_protocol::{Code, Refusal, ServerMessage};

use super::Control;
use crate::{
    auth::Identity,
    calendar,
    rights::{Reservations, Rights},
    session::Session,
};

/// How often the authenticator is asked if it doesn't say when.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// The longest sleep before an expiry: clocks are set.
const EXPIRY_LOOK: Duration = Duration::from_secs(10);

/// How long a client may take to hear that it is out. One that doesn't listen is out as well.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a session may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) rights: Arc<Rights>,
    pub(super) reservations: Arc<Reservations>,
}

/// Why somebody may not stay.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) refusal: Refusal,
    /// Whether the token itself is over, with all its names.
    pub(super) is_final: bool,
}

/// Passes changes of what a session may do on, and ends when it may not stay; says why. The client hears of that first.
///
/// # Cancel safety
/// Cancel safe.
pub(super) async fn watch(
    control: &Control,
    session: &Session,
    changes: &watch::Sender<Option<Standing>>,
) -> String {
    let mut moved = control.authenticator.changes();
    let Out { refusal, is_final } = loop {
        let standing = match of(control, &session.identity) {
            Ok(standing) => standing,
            Err(out) => break out,
        };
        let expires = standing.rights.expires;
        changes.send_if_modified(|known| {
            let is_new = known.as_ref() != Some(&standing);
            *known = Some(standing);
            is_new
        });
        let nap = expires.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default().min(EXPIRY_LOOK));
        look_again(&mut moved, nap).await;
    };
    let reason = refusal.message.clone();
    session.set_reason(reason.clone());
    let told = session.tell(ServerMessage::GoAway { refusal });
    let _ = tokio::time::timeout(LAST_WORDS, told).await;
    if is_final {
        control.registry.revoke(session.identity.token);
    }
    reason
}

/// What somebody who was let in may do now.
///
/// # Errors
/// Why it may not stay.
pub(super) fn of(control: &Control, identity: &Identity) -> Result<Standing, Out> {
    let Some(rights) = control.authenticator.rights(identity) else {
        let is_final = !control.authenticator.has_new_secret(identity);
        let message = match is_final {
            true => "the token was revoked",
            false => "the token's secret was replaced: log in with the new one",
        };
        return Err(Out { refusal: Refusal::permanent(Code::Revoked, message), is_final });
    };
    match expired(&rights, &identity.name) {
        Some(refusal) => Err(Out { refusal, is_final: true }),
        None => Ok(Standing { rights, reservations: control.authenticator.reservations() }),
    }
}

/// The refusal of a token whose time is over.
pub(super) fn expired(rights: &Rights, name: &str) -> Option<Refusal> {
    let at = rights.expires.filter(|at| *at <= SystemTime::now())?;
    let message = format!(
        "the token `{name}` expired on {}; to extend it, run on the server: tunnel token edit {name} --expires 30d",
        calendar::date(at)
    );
    Some(Refusal::permanent(Code::TokenExpired, message))
}

/// Waits until there is reason to look again: `moved` says so, or after `nap`. Without `moved`, after a second.
pub(super) async fn look_again(moved: &mut Option<watch::Receiver<u64>>, nap: Option<Duration>) {
    match moved {
        None => sleep(nap.unwrap_or(INTERVAL).min(INTERVAL)).await,
        Some(changes) => {
            let napped = async {
                match nap {
                    Some(nap) => sleep(nap).await,
                    None => std::future::pending().await,
                }
            };
            let is_over = tokio::select! {
                changed = changes.changed() => changed.is_err(),
                () = napped => false,
            };
            if is_over {
                // Nobody will say any more.
                *moved = None;
            }
        }
    }
}
