//! Who holds which names (`leases.json`), so that a restarted server keeps them for their owners.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError, error::TryRecvError},
    time::{Instant, sleep_until},
};
use tracing::{info, warn};
use tunnel_server::{Event, SavedLease};

use super::files::{self, FileError};
use crate::output::chain;

/// How long changes are collected before they are written.
const COLLECT: Duration = Duration::from_millis(100);
/// When a write that failed is tried again: a full disk may have room by then.
const RETRY: Duration = Duration::from_secs(3);

/// The leases of the last run; none if there was none. Ports that nobody was told of are nobody's by now.
pub(crate) fn load(directory: &Path) -> Result<Vec<SavedLease>, FileError> {
    let path = directory.join(FILE);
    let Some(content) = files::read_json::<serde_json::Value>(&path)? else { return Ok(Vec::new()) };
    // First of all: of another version nothing else is known.
    let fault = |error: serde_json::Error| FileError::content(&path, error.to_string());
    let Form { version } = Form::deserialize(&content).map_err(fault)?;
    if version > VERSION {
        let reason = format!(
            "is of version {version}, and this program knows none after {VERSION}: a newer tunnel has written it"
        );
        return Err(FileError::content(&path, reason));
    }
    let mut leases = Content::deserialize(content).map_err(fault)?.leases;
    leases.retain(|lease| !lease.fleeting);
    Ok(leases)
}

/// Keeps the file up to date, until the server drains: what it held then is what its successor needs. With `is_anew` the
/// file is written soon whatever happens, since changes may have been missed.
///
/// A change in the tenth of a second before the draining may be missing.
///
/// # Cancel safety
/// The same, when dropped.
pub(crate) async fn keep(
    directory: &Path,
    mut events: Receiver<Event>,
    is_anew: bool,
    current: impl Fn() -> Vec<SavedLease>,
) {
    // What was held when a burst of changes began, and when to write what is held by then.
    let mut burst: Option<(Instant, Vec<SavedLease>)> =
        is_anew.then(|| (Instant::now() + COLLECT, current()));
    let mut file = LeasesFile::new(directory);
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
                burst = match (file.write(held.clone()).await, follows) {
                    (false, _) => Some((Instant::now() + RETRY, held)),
                    (true, Follows::Nothing) => None,
                    (true, _) => Some((Instant::now() + COLLECT, held)),
                };
            }
        }
    }
    if let Some((_, held)) = burst {
        file.write(held).await;
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

/// The file, and how it was when it was last written.
struct LeasesFile {
    path: PathBuf,
    is_failing: bool,
}

impl LeasesFile {
    fn new(directory: &Path) -> Self {
        Self { path: directory.join(FILE), is_failing: false }
    }

    /// Writes beside the tasks that carry visitors, since a disk may be slow; whether it is written. Said once, and
    /// once more when it works again.
    async fn write(&mut self, leases: Vec<SavedLease>) -> bool {
        let path = self.path.clone();
        let writing = move || files::write_json(&path, &Content { version: VERSION, leases });
        let fault = match tokio::task::spawn_blocking(writing).await {
            Ok(written) => written.err().map(|error| chain(&error)),
            Err(error) => Some(error.to_string()),
        };
        let was_failing = std::mem::replace(&mut self.is_failing, fault.is_some());
        match fault {
            Some(error) if !was_failing => {
                let every = RETRY.as_secs();
                warn!(%error, "the leases can't be saved, so names are not kept over a restart; tried again every {every} s");
            }
            None if was_failing => info!("the leases are saved again"),
            _ => {}
        }
        !self.is_failing
    }
}

#[derive(Deserialize)]
struct Form {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    leases: Vec<SavedLease>,
}

const FILE: &str = "leases.json";

/// The version of the file's form.
const VERSION: u32 = 1;

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
            fleeting: false,
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
        let fleeting = SavedLease { subdomain: None, udp_port: Some(7), fleeting: true, ..lease("") };
        let written = all.iter().cloned().chain([fleeting]).collect();
        assert!(LeasesFile::new(home.path()).write(written).await);
        assert_eq!(load(home.path()).unwrap(), all);
        let older = r#"{"version":1,"leases":[{"subdomain":"a","token":"0101010101010101","name":"ci",
            "instance":"02020202020202020202020202020202","machine":"laptop"}]}"#;
        std::fs::write(home.path().join(FILE), older).unwrap();
        assert_eq!(load(home.path()).unwrap(), [lease("a")]);
    }

    #[test]
    fn a_newer_file_is_not_taken_for_one_of_ours() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(FILE), r#"{"version":99,"leases":[]}"#).unwrap();
        let error = load(home.path()).unwrap_err();
        assert!(error.to_string().contains("is of version 99"), "{error}");
    }

    #[tokio::test]
    async fn changes_are_saved_until_the_draining_and_not_after() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(load(home.path()).unwrap(), []);
        let sender = broadcast::Sender::new(8);
        let held = Mutex::new(vec![lease("a")]);
        let looked = tokio::sync::Notify::new();
        let keeping = keep(home.path(), sender.subscribe(), false, || {
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
    async fn what_the_disk_had_no_room_for_is_written_when_it_has() {
        let home = tempfile::tempdir().unwrap();
        // A directory with something in it can't be replaced by a file.
        let in_the_way = home.path().join(FILE);
        std::fs::create_dir_all(in_the_way.join("inside")).unwrap();
        let sender = broadcast::Sender::new(8);
        let looked = tokio::sync::Notify::new();
        let keeping = keep(home.path(), sender.subscribe(), false, || {
            looked.notify_one();
            vec![lease("a")]
        });
        let driving = async {
            sender.send(Event::LeasesChanged).unwrap();
            // When the burst began, at the first try, and at the second.
            for _ in 0..3 {
                looked.notified().await;
            }
            std::fs::remove_dir_all(in_the_way).unwrap();
            while load(home.path()).ok().is_none_or(|leases| leases.is_empty()) {
                // sleep: polling a file, by the paused clock
                tokio::time::sleep(RETRY).await;
            }
        };
        tokio::select! {
            () = keeping => panic!("the server goes on"),
            driven = tokio::time::timeout(RETRY * 10, driving) => driven.unwrap(),
        }
        assert_eq!(load(home.path()).unwrap(), [lease("a")]);
    }

    #[tokio::test]
    async fn who_begins_anew_writes_what_is_held_without_being_told_of_changes() {
        let home = tempfile::tempdir().unwrap();
        let sender = broadcast::Sender::new(8);
        let events = sender.subscribe();
        sender.send(Event::Draining).unwrap();
        keep(home.path(), events, true, || vec![lease("a")]).await;
        assert_eq!(load(home.path()).unwrap(), [lease("a")]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_changed_as_the_draining_began_is_not_taken_for_what_was_held() {
        let home = tempfile::tempdir().unwrap();
        let sender = broadcast::Sender::new(8);
        let events = sender.subscribe();
        sender.send(Event::LeasesChanged).unwrap();
        sender.send(Event::Draining).unwrap();
        keep(home.path(), events, false, Vec::new).await;
        assert!(!home.path().join(FILE).exists());
    }
}
