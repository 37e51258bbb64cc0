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
use crate::output::chain;

/// How long changes are collected before they are written.
const COLLECT: Duration = Duration::from_millis(100);

/// The leases of the last run; none if there was none.
pub(crate) fn load(directory: &Path) -> Result<Vec<SavedLease>, FileError> {
    let content: Option<Content> = files::read_json(&directory.join(FILE))?;
    Ok(content.map(|content| content.leases).unwrap_or_default())
}

/// Keeps the file up to date, until the server drains: what it held then is what its successor needs.
///
/// A change in the tenth of a second before the draining may be missing.
///
/// # Cancel safety
/// The same, when dropped.
pub(crate) async fn keep(
    directory: &Path,
    mut events: Receiver<Event>,
    current: impl Fn() -> Vec<SavedLease>,
) {
    // What was held when a burst of changes began, and when to write what is held by then.
    let mut burst: Option<(Instant, Vec<SavedLease>)> = None;
    loop {
        let due = burst.as_ref().map(|(due, _)| *due);
        tokio::select! {
            event = events.recv() => match event {
                Ok(Event::LeasesChanged) | Err(RecvError::Lagged(_)) if burst.is_none() => {
                    let held = current();
                    if what_follows(&mut events) == Follows::Draining {
                        return;
                    }
                    burst = Some((Instant::now() + COLLECT, held));
                }
                Ok(Event::Draining) | Err(RecvError::Closed) => break,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let held = current();
                let follows = what_follows(&mut events);
                if follows == Follows::Draining {
                    break;
                }
                write(directory, held.clone()).await;
                burst = (follows == Follows::Changes).then(|| (Instant::now() + COLLECT, held));
            }
        }
    }
    if let Some((_, held)) = burst {
        write(directory, held).await;
    }
}

/// What happened since the leases were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follows {
    Nothing,
    Changes,
    /// They may lack what the draining has let go.
    Draining,
}

fn what_follows(events: &mut Receiver<Event>) -> Follows {
    let mut follows = Follows::Nothing;
    loop {
        match events.try_recv() {
            Ok(Event::Draining) | Err(TryRecvError::Closed) => return Follows::Draining,
            Ok(Event::LeasesChanged) | Err(TryRecvError::Lagged(_)) => follows = Follows::Changes,
            Ok(_) => {}
            Err(TryRecvError::Empty) => return follows,
        }
    }
}

/// Written beside the tasks that carry visitors: a disk may be slow.
async fn write(directory: &Path, leases: Vec<SavedLease>) {
    let path = directory.join(FILE);
    let writing = move || files::write_json(&path, &Content { version: 1, leases });
    match tokio::task::spawn_blocking(writing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            warn!(error = chain(&error), "the leases can't be saved; names are not kept over a restart");
        }
        Err(error) => warn!(%error, "the leases can't be saved; names are not kept over a restart"),
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
            domain: None,
            path: None,
            tls: false,
            port: None,
            udp_port: None,
            pool: false,
            paused: false,
            paused_paths: Vec::new(),
            token: TokenId([1; 8]),
            name: "ci".into(),
            instance: InstanceId([2; 16]),
            machine: "laptop".into(),
        }
    }

    #[tokio::test]
    async fn all_kinds_of_leases_are_kept_and_those_of_older_servers_read() {
        let home = tempfile::tempdir().unwrap();
        let web = SavedLease { subdomain: None, domain: Some("*.dev.test".into()), ..lease("") };
        let path = SavedLease { path: Some("/api".into()), pool: true, ..lease("a") };
        let tls = SavedLease { tls: true, ..lease("a") };
        let all = vec![lease("a"), web, path, tls];
        write(home.path(), all.clone()).await;
        assert_eq!(load(home.path()).unwrap(), all);
        let older = r#"{"version":1,"leases":[{"subdomain":"a","token":"0101010101010101","name":"ci",
            "instance":"02020202020202020202020202020202","machine":"laptop"}]}"#;
        std::fs::write(home.path().join(FILE), older).unwrap();
        assert_eq!(load(home.path()).unwrap(), [lease("a")]);
    }

    #[tokio::test]
    async fn changes_are_saved_until_the_draining_and_not_after() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(load(home.path()).unwrap(), []);
        let sender = broadcast::Sender::new(8);
        let held = Mutex::new(vec![lease("a")]);
        let looked = tokio::sync::Notify::new();
        let keeping = keep(home.path(), sender.subscribe(), || {
            looked.notify_one();
            held.lock().unwrap().clone()
        });
        let driving = async {
            sender.send(Event::LeasesChanged).unwrap();
            looked.notified().await;
            // It looks again when it writes what has come together.
            held.lock().unwrap().push(lease("b"));
            looked.notified().await;
            held.lock().unwrap().push(lease("c"));
            sender.send(Event::LeasesChanged).unwrap();
            looked.notified().await;
            sender.send(Event::Draining).unwrap();
            held.lock().unwrap().clear();
            sender.send(Event::LeasesChanged).unwrap();
        };
        tokio::join!(keeping, driving);
        assert_eq!(load(home.path()).unwrap(), [lease("a"), lease("b"), lease("c")]);
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
