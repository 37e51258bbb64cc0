//! The settings of a running server: one value, replaced as a whole, read wherever something is decided.
//!
//! Nothing copies a setting that may change, or it would go on by the old one.

use std::{sync::Arc, time::SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use crate::config::Config;

/// What a server goes by now; clones are the same settings.
#[derive(Clone, Debug)]
pub(crate) struct Settings(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    config: ArcSwap<Config>,
    fault: ArcSwapOption<SettingsFault>,
}

/// Settings that somebody wants aren't in use, and those from before go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingsFault {
    /// Since when some weren't.
    pub since: SystemTime,
    /// Which, and why, in one line.
    pub reason: String,
}

/// The settings at one moment. For decisions: what waits keeps the values that it needs, not this.
pub(crate) type Now = Guard<Arc<Config>>;

impl Settings {
    pub(crate) fn new(config: Config) -> Self {
        Self(Arc::new(Kept { config: ArcSwap::from_pointee(config), fault: ArcSwapOption::empty() }))
    }

    pub(crate) fn now(&self) -> Now {
        self.0.config.load()
    }

    /// The settings at one moment, to keep.
    pub(crate) fn full(&self) -> Arc<Config> {
        self.0.config.load_full()
    }

    pub(crate) fn replace(&self, config: Config) {
        self.0.config.store(Arc::new(config));
    }

    /// Why others aren't in use that should be.
    pub(crate) fn fault(&self) -> Option<SettingsFault> {
        self.0.fault.load().as_deref().cloned()
    }

    /// Another reason after the first is of the same age: the settings in use are.
    pub(crate) fn set_fault(&self, reason: Option<String>) {
        let since = self.fault().map_or_else(SystemTime::now, |former| former.since);
        self.0.fault.store(reason.map(|reason| Arc::new(SettingsFault { since, reason })));
    }
}
