//! Who holds which names (`leases.json`), so that a restarted server keeps them for their owners.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError, error::TryRecvError},
    time::{Instant, sleep_until},
};
use tracing::warn;
use tunnel_server::{Event, SavedLease};

use super::files::{self, FileError};

/// How long changes are collected before they are written.
const COLLECT: Duration = Duration::from_millis(100);

/// The leases of the last run; none if there was none.
pub(crate) fn load(directory: &Path) -> Result<Vec<SavedLease>, FileError> {
    let content: Option<Content> = files::read_json(&directory.join(FILE))?;
    Ok(content.map(|content| content.leases).unwrap_or_default())
}

/// Keeps the file up to date, until the server drains: what it held then is what its successor needs.
///
/// # Cancel safety
/// Dropping it may leave out changes of the last tenth of a second.
pub(crate) async fn keep(
    directory: &Path,
    mut events: Receiver<Event>,
    current: impl Fn() -> Vec<SavedLease>,
) {
    let mut pending: Option<(Instant, Vec<SavedLease>)> = None;
    loop {
        let due = pending.as_ref().map(|(at, _)| *at);
        let event = tokio::select! {
            event = events.recv() => event,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                write(directory, pending.take());
                continue;
            }
        };
        match event {
            Ok(Event::LeasesChanged) | Err(RecvError::Lagged(_)) => {
                let leases = current();
                // Taken before the draining began, or it may lack what the draining has let go.
                if draining_follows(&mut events) {
                    break;
                }
                pending = Some((due.unwrap_or_else(|| Instant::now() + COLLECT), leases));
            }
            Ok(Event::Draining) | Err(RecvError::Closed) => break,
            Ok(_) => {}
        }
    }
    write(directory, pending);
}

fn draining_follows(events: &mut Receiver<Event>) -> bool {
    loop {
        match events.try_recv() {
            Ok(Event::Draining) | Err(TryRecvError::Closed) => return true,
            Ok(_) | Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty) => return false,
        }
    }
}

fn write(directory: &Path, pending: Option<(Instant, Vec<SavedLease>)>) {
    let Some((_, leases)) = pending else { return };
    let content = Content { version: 1, leases };
    if let Err(error) = files::write_json(&directory.join(FILE), &content) {
        warn!(%error, "the leases can't be saved; names are not kept over a restart");
    }
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    leases: Vec<SavedLease>,
}

const FILE: &str = "leases.json";

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::broadcast;
    use tunnel_protocol::{InstanceId, TokenId};

    use super::*;

    fn lease(subdomain: &str) -> SavedLease {
        SavedLease {
            subdomain: Some(subdomain.into()),
            port: None,
            token: TokenId([1; 8]),
            name: "ci".into(),
            instance: InstanceId([2; 16]),
            machine: "laptop".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_saved_until_the_draining_and_not_after() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(load(home.path()).unwrap(), []);
        let sender = broadcast::Sender::new(8);
        let held = Mutex::new(vec![lease("a")]);
        let keeping = keep(home.path(), sender.subscribe(), || held.lock().unwrap().clone());
        let driving = async {
            sender.send(Event::LeasesChanged).unwrap();
            // sleep: the paused clock runs past the time in which changes are collected
            tokio::time::sleep(COLLECT * 2).await;
            assert_eq!(load(home.path()).unwrap(), [lease("a")]);
            held.lock().unwrap().push(lease("b"));
            sender.send(Event::LeasesChanged).unwrap();
            tokio::task::yield_now().await;
            sender.send(Event::Draining).unwrap();
            held.lock().unwrap().clear();
            sender.send(Event::LeasesChanged).unwrap();
        };
        tokio::join!(keeping, driving);
        let saved = load(home.path()).unwrap();
        assert!(saved.contains(&lease("a")), "{saved:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_changed_as_the_draining_began_is_not_taken_for_what_was_held() {
        let home = tempfile::tempdir().unwrap();
        let sender = broadcast::Sender::new(8);
        let events = sender.subscribe();
        sender.send(Event::LeasesChanged).unwrap();
        sender.send(Event::Draining).unwrap();
        keep(home.path(), events, Vec::new).await;
        assert!(!home.path().join(FILE).exists());
    }
}
