//! The admin server: its doors, and what they lead to.

use std::{fmt, ops::Deref, sync::Arc, time::SystemTime};

use tokio::{sync::Semaphore, task::JoinSet};
use tracing::warn;
use tunnel_server::ServerHandle;

#[cfg(unix)]
use crate::door::socket::AdminSocket;
use crate::{
    api, dashboard,
    door::web::WebDoor,
    live::{Sampler, Watch},
    sign_in::SignIn,
    tokens::{Actor, Deed, Tokens},
};

/// How many may follow what happens at a time.
const READERS: usize = 32;

/// What the engine doesn't know of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The program's version.
    pub version: String,
    /// The domain whose subdomains are given out.
    pub domain: String,
    /// Since when the server runs.
    pub started: SystemTime,
}

/// Everything an answer is made from. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Site(Arc<Parts>);

/// What a [`Site`] shares.
pub(crate) struct Parts {
    pub(crate) about: About,
    pub(crate) engine: ServerHandle,
    pub(crate) tokens: Arc<dyn Tokens>,
    pub(crate) sampler: Sampler,
    pub(crate) watch: Watch,
    pub(crate) readers: Arc<Semaphore>,
    /// If there is a port.
    pub(crate) web: Option<WebSite>,
}

/// The port, as seen from elsewhere.
pub(crate) struct WebSite {
    pub(crate) url: String,
    pub(crate) sign_in: Arc<SignIn>,
}

/// Shows and steers one server.
pub struct AdminServer {
    about: About,
    engine: ServerHandle,
    tokens: Arc<dyn Tokens>,
    #[cfg(unix)]
    socket: Option<AdminSocket>,
    web: Option<WebDoor>,
}

impl AdminServer {
    /// One for the server behind `engine`; it has no doors yet.
    pub fn new(about: About, engine: ServerHandle, tokens: Arc<dyn Tokens>) -> Self {
        Self {
            about,
            engine,
            tokens,
            #[cfg(unix)]
            socket: None,
            web: None,
        }
    }

    /// Answers on this socket.
    #[cfg(unix)]
    #[must_use]
    pub fn socket(mut self, socket: AdminSocket) -> Self {
        self.socket = Some(socket);
        self
    }

    /// Answers on this port, and shows the dashboard there.
    #[must_use]
    pub fn web(mut self, web: WebDoor) -> Self {
        self.web = Some(web);
        self
    }

    /// Answers until dropped.
    ///
    /// # Cancel safety
    /// Dropping it closes its doors and all connections.
    pub async fn run(self) {
        let web = self.web.as_ref().map(|web| WebSite { url: web.url(), sign_in: web.sign_in() });
        let site = Site(Arc::new(Parts {
            about: self.about,
            engine: self.engine,
            tokens: self.tokens,
            sampler: Sampler::new(),
            watch: Watch::default(),
            readers: Arc::new(Semaphore::new(READERS)),
            web,
        }));
        let mut tasks = JoinSet::<()>::new();
        let looking = site.clone();
        tasks.spawn(async move { looking.sampler.run(&looking.engine).await });
        let watching = site.clone();
        tasks.spawn(async move { watching.watch.run(&watching.engine).await });
        let routes = api::routes(site.clone());
        #[cfg(unix)]
        if let Some(socket) = self.socket {
            tasks.spawn(socket.serve(routes.clone()));
        }
        if let (Some(door), Some(web)) = (self.web, &site.web) {
            tasks.spawn(door.serve(routes.merge(dashboard::routes()), web.sign_in.clone()));
        }
        while tasks.join_next().await.is_some() {}
    }
}

impl Site {
    /// Writes a deed down. What was done was done, so a log that can't be written is the operator's to hear of.
    pub(crate) async fn note(&self, by: Actor, deed: Deed) {
        let what = deed.what;
        if let Err(problem) = api::ask(self, move |keeper| keeper.note(&by, &deed)).await {
            warn!(what, error = %problem, "the audit log has no entry for this");
        }
    }
}

impl Deref for Site {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl fmt::Debug for AdminServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminServer")
            .field("about", &self.about)
            .field("web", &self.web)
            .finish_non_exhaustive()
    }
}
