//! What the two halves of a server share: routes, events, counters, and the settings both were given.
//!
//! `control` writes the routes, `ingress` reads them; nothing else passes between the halves, and visitors never
//! wait for control.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tunnel_transport::Spare;

use crate::{
    account::Accounts,
    addresses::Addresses,
    config::Config,
    events::Events,
    http::Interstitial,
    ingress::https::Https,
    load::Load,
    metrics::Metrics,
    places::Places,
    records::Records,
    routes::Routes,
    settings::{Now, Settings},
    succession::Succession,
    waiting::WaitingRoom,
};

/// Answers compressed at once, in all. What comes beyond goes as it is, so the bound is one on memory: 90 MiB.
const COMPRESSORS: usize = 256;

/// Handed to every part of a server.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) routes: Arc<Routes>,
    pub(crate) events: Events,
    pub(crate) metrics: Arc<Metrics>,
    /// What each token has used.
    pub(crate) accounts: Arc<Accounts>,
    /// What becomes of each visitor, for those who listen.
    pub(crate) records: Records,
    /// The https port, if there is one.
    pub(crate) https: Option<Arc<Https>>,
    /// Cancelled when the server is asked to stop: no new visitors, what is under way may finish.
    pub(crate) draining: CancellationToken,
    /// Its predecessor and its successor, if it has any.
    pub(crate) succession: Arc<Succession>,
    /// Cancelled when the grace is over: everything ends.
    pub(crate) stopping: CancellationToken,
    /// Every visitor's task. Each selects on `stopping` or on something that ends with it.
    pub(crate) visitors: TaskTracker,
    /// What each visitor's address has and does.
    pub(crate) addresses: Arc<Addresses>,
    /// How near memory is to being used up.
    pub(crate) load: Arc<Load>,
    /// Where visitors wait for absent clients.
    pub(crate) waiting: WaitingRoom,
    /// The page before a tunnel's first page, if the settings want it.
    pub(crate) interstitial: Arc<Interstitial>,
    /// Places for visitors' connections, on all listeners and ports together.
    pub(crate) connections: Arc<Places>,
    /// A file descriptor for visitors who find no other.
    pub(crate) spare: Arc<Spare>,
    /// Places for answers that are being compressed, at about 350 KiB each.
    pub(crate) compressors: Arc<Semaphore>,
    /// What visitors who don't read make us hold, on all lanes together.
    pub(crate) unread: tunnel_mux::Budget,
}

impl Shared {
    /// What a server with these settings shares.
    pub(crate) fn new(config: Config) -> Self {
        let unread = tunnel_mux::Budget::new(config.limits.unread_bytes);
        let settings = Settings::new(config);
        let addresses = Arc::new(Addresses::new(settings.clone()));
        let draining = CancellationToken::new();
        let load = Arc::new(Load::new(&draining));
        Self {
            connections: Places::new(settings.clone(), addresses.clone(), load.clone()),
            load,
            spare: Arc::default(),
            waiting: WaitingRoom::new(settings.clone(), addresses.clone()),
            addresses,
            interstitial: Arc::new(Interstitial::new()),
            compressors: Arc::new(Semaphore::new(COMPRESSORS)),
            unread,
            routes: Arc::new(Routes::default()),
            events: Events::new(),
            metrics: Arc::new(Metrics::default()),
            accounts: Arc::default(),
            records: Records::new(settings.clone()),
            https: None,
            draining,
            succession: Arc::new(Succession::open()),
            stopping: CancellationToken::new(),
            visitors: TaskTracker::new(),
            settings,
        }
    }

    /// The settings as they are now: read where they are used, so that a change counts at once.
    pub(crate) fn config(&self) -> Now {
        self.settings.now()
    }
}
