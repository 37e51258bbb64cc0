//! When settings are to be read again: at a hangup, and when their file has changed.

use std::{path::Path, time::Duration};

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Failure, signals::Hangups};
use crate::{config::FromFile, state::stamp::Watched};

/// How often the file is looked at: a change counts after two looks, when it has settled.
const LOOK: Duration = Duration::from_secs(1);

/// The occasions.
#[derive(Debug)]
pub(super) struct Reloads {
    hangups: Hangups,
    looks: Interval,
    /// None if no file is read.
    watched: Option<Watched>,
}

impl Reloads {
    /// Begins to listen for them.
    pub(super) fn listen(file: &FromFile) -> Result<Self, Failure> {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watched = file.path.as_deref().map(|path| Watched::new(path, file.stamp));
        Ok(Self { hangups: Hangups::listen()?, looks, watched })
    }

    /// The file, if one is read.
    pub(super) fn file(&self) -> Option<&Path> {
        self.watched.as_ref().map(Watched::path)
    }

    /// Waits for the next occasion.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn next(&mut self) {
        loop {
            tokio::select! {
                () = self.hangups.next() => {
                    self.watched.iter_mut().for_each(Watched::note);
                    return;
                }
                _ = self.looks.tick() => {
                    if self.watched.as_mut().is_some_and(Watched::has_changed) {
                        return;
                    }
                }
            }
        }
    }
}
