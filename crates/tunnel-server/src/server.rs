//! A whole server: its parts put together, run, drained and stopped.

use std::{collections::BTreeMap, fmt, future::Future, io, sync::Arc, time::Duration};

use tokio::{sync::broadcast, task::JoinSet, time::MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use tunnel_io::BoxedIo;
use tunnel_protocol::{Code, Refusal, ServerMessage, TokenId};
use tunnel_router::Hostname;
use tunnel_transport::{ControlTls, Listener, WebTls};

use crate::{
    auth::Authenticator,
    census::{self, TunnelState},
    config::{Config, ConfigError},
    control::{self, Control, LoginPace, Sessions},
    events::Event,
    ingress::{self, https::Https},
    load::{self, MemoryGauge},
    records::RequestRecord,
    registry::{Registry, SavedLease},
    rights::TunnelKind,
    shared::Shared,
    snapshot::Snapshot,
    succession::{Estate, Succession},
    throttle::Throttle,
    totals::Totals,
    usage::Usage,
};

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Settings that contradict each other.
    #[error("the configuration can't work: {0}")]
    Config(#[from] ConfigError),
    /// Nobody was named who decides on logins.
    #[error("a server needs an authenticator")]
    NoAuthenticator,
    /// Visitors are to be sent on to an https listener that isn't there.
    #[error("`redirect_https` needs an https listener")]
    NoHttps,
    /// A listener has no address.
    #[error("a listener can't be used")]
    Listener(#[from] io::Error),
}

/// What tells how much memory the process uses.
struct MemoryOf(Arc<dyn MemoryGauge>);

impl fmt::Debug for MemoryOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryOf")
    }
}

/// Gathers what a server is made of. Made by [`Server::builder`].
pub struct ServerBuilder {
    config: Config,
    control: Vec<(Listener, ControlTls)>,
    web: Vec<Listener>,
    https: Vec<(Listener, WebTls)>,
    authenticator: Option<Arc<dyn Authenticator>>,
    leases: Vec<SavedLease>,
    memory: Option<Arc<dyn MemoryGauge>>,
    is_closed: bool,
}

/// A server that is ready to [`run`](Server::run). Its listeners are open from the start: visitors and clients
/// that come before it runs wait in the system's queue.
#[derive(Debug)]
pub struct Server {
    control: Control,
    control_listeners: Vec<(Listener, ControlTls)>,
    web: Vec<Listener>,
    https: Vec<(Listener, WebTls)>,
    memory: Option<MemoryOf>,
}

/// A way to watch and steer a running server; cheap to clone.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    pub(crate) control: Control,
}

impl ServerBuilder {
    /// Takes clients on this listener. May be given several times.
    #[must_use]
    pub fn control(mut self, listener: Listener, tls: ControlTls) -> Self {
        self.control.push((listener, tls));
        self
    }

    /// Takes web visitors on this listener. May be given several times; the first one's port is in public
    /// addresses unless [`Config::public_port`] says otherwise.
    #[must_use]
    pub fn web(mut self, listener: Listener) -> Self {
        self.web.push(listener);
        self
    }

    /// Takes visitors with TLS on this listener: of web tunnels, whose TLS ends here, and of TLS tunnels, whose TLS
    /// passes through. May be given several times; the first one's port and certificates decide on public addresses,
    /// unless [`Config::public_https_port`] says otherwise. With an empty store, it serves TLS tunnels only.
    #[must_use]
    pub fn https(mut self, listener: Listener, tls: WebTls) -> Self {
        self.https.push((listener, tls));
        self
    }

    /// Asks `authenticator` about each login.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Holds these names for their owners from the start: what [`ServerHandle::leases`] gave before a restart.
    #[must_use]
    pub fn leases(mut self, leases: Vec<SavedLease>) -> Self {
        self.leases = leases;
        self
    }

    /// Has this tell how much memory the process uses, so that the server keeps to
    /// [`Limits::memory`](crate::Limits::memory).
    #[must_use]
    pub fn memory(mut self, gauge: impl MemoryGauge) -> Self {
        self.memory = Some(Arc::new(gauge));
        self
    }

    /// Lets no visitors in before [`ServerHandle::open`]: their connections wait at the listeners. For a server that
    /// succeeds another one on the same sockets.
    #[must_use]
    pub fn closed(mut self) -> Self {
        self.is_closed = true;
        self
    }

    /// Puts the server together.
    ///
    /// # Errors
    /// [`StartError`]; nothing is running then.
    pub fn build(self) -> Result<Server, StartError> {
        self.config.validate()?;
        let authenticator = self.authenticator.ok_or(StartError::NoAuthenticator)?;
        let web_port = self.web.first().map(Listener::local_addr).transpose()?.map_or(80, |at| at.port());
        let https = match self.https.first() {
            Some((listener, tls)) => Some(Arc::new(Https {
                listener_port: listener.local_addr()?.port(),
                certificates: tls.store().clone(),
            })),
            None if self.config.redirect_https => return Err(StartError::NoHttps),
            None => None,
        };
        let succession = Arc::new(if self.is_closed { Succession::closed() } else { Succession::open() });
        let shared = Shared { https, succession, ..Shared::new(self.config) };
        let throttle = Throttle::new(shared.settings.clone());
        let registry = Registry::new(shared.clone(), web_port);
        registry.import(self.leases);
        let sessions = Arc::new(Sessions::default());
        let tasks = TaskTracker::new();
        let retiring = CancellationToken::new();
        let pace = Arc::new(LoginPace::new());
        let control = Control { shared, registry, authenticator, throttle, pace, sessions, retiring, tasks };
        let memory = self.memory.map(MemoryOf);
        Ok(Server { control, control_listeners: self.control, web: self.web, https: self.https, memory })
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Server {
    /// Begins a server with the given settings.
    pub fn builder(config: Config) -> ServerBuilder {
        ServerBuilder {
            config,
            control: Vec::new(),
            web: Vec::new(),
            https: Vec::new(),
            authenticator: None,
            leases: Vec::new(),
            memory: None,
            is_closed: false,
        }
    }

    /// Begins a server with default settings for a domain.
    pub fn for_domain(domain: Hostname) -> ServerBuilder {
        Self::builder(Config::new(domain))
    }

    /// A handle to watch and steer the server with.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { control: self.control.clone() }
    }

    /// Takes what a predecessor passed on: names are held for their owners, and ports served from the same sockets.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn inherit(&self, estate: Estate) {
        let passed = &self.control.shared.succession.passed;
        passed.put(estate.ports);
        self.control.registry.import(estate.leases);
        passed.clear();
        self.control.shared.events.emit(Event::LeasesChanged);
    }

    /// Serves until `shutdown` is ready or [`ServerHandle::drain`] was called, then drains: no new visitors, clients are
    /// told to come back later, and what is under way gets [`Timeouts::grace`](crate::Timeouts::grace) to finish.
    ///
    /// # Cancel safety
    /// Dropping it ends everything at once.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { control, control_listeners, web, https, memory } = self;
        // Whatever ends this future, by return or by drop, ends the tasks that hang off it.
        let stopping = control.shared.stopping.clone().drop_guard();
        let mut doors = JoinSet::new();
        for (listener, tls) in control_listeners {
            doors.spawn(control::accept(control.clone(), listener, Arc::new(tls)));
        }
        for listener in web {
            doors.spawn(ingress::http::serve(control.shared.clone(), listener));
        }
        for (listener, tls) in https {
            doors.spawn(ingress::https::serve(control.shared.clone(), listener, tls));
        }
        if let Some(MemoryOf(gauge)) = memory {
            doors.spawn(load::watch(control.shared.clone(), gauge));
        }
        doors.spawn(sweep(control.registry.clone()));
        doors.spawn(control::enforce(control.clone()));
        tokio::select! {
            () = shutdown => {}
            () = control.retiring.cancelled() => {}
        }
        drain(&control).await;
        control::charge(&control);
        drop(stopping);
        control.registry.clear();
        control.tasks.close();
        if tokio::time::timeout(LAST_WORDS, control.tasks.wait()).await.is_err() {
            warn!("some sessions didn't end in time and were dropped");
        }
    }
}

impl ServerHandle {
    /// What happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.control.shared.events.subscribe()
    }

    /// A record of each visitor's exchange from now on, once it is over. A slow listener misses some and is told how
    /// many. While nobody listens, records cost nothing.
    pub fn requests(&self) -> broadcast::Receiver<Arc<RequestRecord>> {
        self.control.shared.records.subscribe(false)
    }

    /// The same, with what visitors call themselves and where they say to come from; from then on that is in
    /// everybody's records.
    pub fn requests_in_full(&self) -> broadcast::Receiver<Arc<RequestRecord>> {
        self.control.shared.records.subscribe(true)
    }

    /// Sums and gauges without anything about single sessions and tunnels: cheap however many there are.
    pub fn totals(&self) -> Totals {
        Totals::take(&self.control)
    }

    /// What each token has used since the server started.
    pub fn usage(&self) -> Vec<(TokenId, Usage)> {
        let accounts = self.control.shared.accounts.all();
        accounts.iter().map(|(token, account)| (*token, account.usage())).collect()
    }

    /// What each token has used since this was last called, those left out that used nothing. What was taken is for
    /// the caller to keep: there is one such caller.
    pub fn take_usage(&self) -> Vec<(TokenId, Usage)> {
        let accounts = self.control.shared.accounts.all();
        let taken = accounts.iter().map(|(token, account)| (*token, account.take()));
        taken.filter(|(_, usage)| !usage.is_nothing()).collect()
    }

    /// How many tunnels there are, by kind and state; those that are held for an absent client are among them. It
    /// costs less than a microsecond a tunnel, in which names are neither given nor taken.
    pub fn tunnel_counts(&self) -> BTreeMap<(TunnelKind, TunnelState), usize> {
        census::take(&self.control)
    }

    /// How things stand. The cost grows with the sessions and tunnels there are; see [`ServerHandle::totals`].
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.control)
    }

    /// Who holds which names, to be kept over a restart. [`Event::LeasesChanged`] says when to ask again.
    pub fn leases(&self) -> Vec<SavedLease> {
        self.control.registry.export()
    }

    /// Which of the leases that [`hand_over`](ServerHandle::hand_over) gave are held no longer: their clients have left
    /// for good before they were at the successor, which is to [let go](ServerHandle::let_go) of them before it opens.
    pub fn given_up(&self, handed_over: &[SavedLease]) -> Vec<SavedLease> {
        self.control.registry.given_up(handed_over)
    }

    /// Releases what clients have [given up](ServerHandle::given_up) at the predecessor, and don't serve here.
    pub fn let_go(&self, given_up: &[SavedLease]) {
        self.control.registry.give_up(given_up);
    }

    /// Lets visitors in, to a server that was built [`closed`](ServerBuilder::closed).
    pub fn open(&self) {
        self.control.shared.succession.open.cancel();
    }

    /// Waits until no visitor waits for a client that is away: one that comes back after
    /// [`hand_over`](ServerHandle::hand_over) comes to the successor, and they wait here. The caller bounds the wait.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn nobody_waits(&self) {
        while self.control.shared.waiting.count() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Makes room for a successor: takes no more clients and no more tunnels, and gives what the successor
    /// [inherits](Server::inherit). Visitors are served as before. [`ServerHandle::clients_moved`] comes next, when the
    /// successor takes clients, and then the end of [`Server::run`]'s `shutdown`; or [`ServerHandle::take_back`].
    pub fn hand_over(&self) -> Estate {
        let shared = &self.control.shared;
        shared.succession.succeeded.send_replace(true);
        shared.events.emit(Event::Draining);
        Estate { leases: self.control.registry.export(), ports: self.control.registry.share_ports() }
    }

    /// Goes on as if there had been no [`hand_over`](ServerHandle::hand_over), since the successor has died: names and
    /// ports are still here, and visitors are served over the sessions that were left until their clients are back.
    /// The caller makes sure that the successor serves nobody.
    pub fn take_back(&self) {
        let shared = &self.control.shared;
        shared.succession.succeeded.send_replace(false);
        shared.events.emit(Event::LeasesChanged);
    }

    /// Sends all clients to the successor, and waits until they are there, for `patience` at most; how many went and
    /// how many are late. Visitors that come to this server until it drains are still served over the sessions left.
    ///
    /// # Cancel safety
    /// Cancel safe; the clients were told.
    pub async fn clients_moved(&self, patience: Duration) -> (usize, usize) {
        let mut sessions = self.control.sessions.all();
        // Those went to an earlier successor, and are being left still.
        sessions.retain(|session| !session.is_leaving());
        sessions.iter().for_each(|session| session.send_on());
        let mut moving: JoinSet<()> = JoinSet::new();
        for session in sessions {
            moving.spawn(async move { session.left().await });
        }
        let (all, mut moved) = (moving.len(), 0);
        let _ = tokio::time::timeout(patience, async {
            while moving.join_next().await.is_some() {
                moved += 1;
            }
        })
        .await;
        (moved, all - moved)
    }

    /// Serves a client that connected by a transport of the embedder's own, until its session ends. The
    /// connection must be confidential: the client shows its token on it.
    ///
    /// # Cancel safety
    /// Dropping it ends the session.
    pub async fn serve_connection(&self, io: BoxedIo, address: std::net::SocketAddr) {
        control::serve(self.control.clone(), io, address).await;
    }
}

/// Lets what is under way finish.
async fn drain(control: &Control) {
    let shared = &control.shared;
    let grace = shared.config().timeouts.grace;
    // Idle streams to upstreams have tasks, too, but nobody waits for them.
    let (visitors, tasks) = (shared.accounts.visitors(), shared.visitors.len());
    info!(grace_s = grace.as_secs(), visitors, tasks, "draining");
    let has_successor = shared.has_successor();
    // In this order, so that whoever begins to listen misses one of the two at most.
    shared.draining.cancel();
    if !has_successor {
        shared.events.emit(Event::Draining);
    }
    let mut farewells = JoinSet::new();
    // A successor's clients know already.
    for session in control.sessions.all().into_iter().filter(|_| !has_successor) {
        farewells.spawn(async move {
            let refusal = Refusal::passing(Code::Draining, "the server is restarting", 0);
            session.tell(ServerMessage::GoAway { refusal }).await;
        });
    }
    shared.visitors.close();
    let farewells = tokio::time::timeout(grace.min(FAREWELL), farewells.join_all());
    let visitors = tokio::time::timeout(grace, shared.visitors.wait());
    // Whom it had begun to let in is sent on to a successor in words.
    let logins = tokio::time::timeout(grace.min(LOGINS), async {
        while has_successor && control.throttle.strangers() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    });
    let (_, visitors, _) = tokio::join!(farewells, visitors, logins);
    if visitors.is_err() {
        let (visitors, tasks) = (shared.accounts.visitors(), shared.visitors.len());
        warn!(visitors, tasks, "the grace is over");
    }
}

async fn sweep(registry: Arc<Registry>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        registry.sweep();
    }
}

/// How long clients may take to hear that the server goes away; those that hear it move without a gap.
const FAREWELL: Duration = Duration::from_millis(800);

/// How long clients that are logging in may take until they hear of a successor.
const LOGINS: Duration = Duration::from_secs(2);

/// How often waiting visitors, and clients that are logging in, are looked for when a successor takes over.
const LOOK: Duration = Duration::from_millis(20);

/// How long ended sessions may take to notice.
const LAST_WORDS: Duration = Duration::from_secs(2);
