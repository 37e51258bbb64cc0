//! A real server in this process, on loopback ports of its own, with tokens that a test can give and revoke.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{oneshot, watch};
use tokio_util::task::AbortOnDropHandle;
use tunnel_client::{Builder, Client, Trust};
use tunnel_protocol::{Token, TokenId};
use tunnel_server::{
    Authenticator, CertStore, Config, ControlTls, Hostname, Identity, Listener, Login, Reservations,
    ReservedName, Rights, SavedLease, Server, ServerBuilder, ServerHandle, StoredToken, TunnelState, Usage,
    WebCertificate, WebTls, check, token_id,
};
use tunnel_transport::{ControlIdentity, Pin, acceptor, generate_self_signed};

/// What stays the same when a test restarts its server: key, tokens, listening sockets.
#[derive(Clone, Debug)]
pub struct Site {
    identity: Arc<ControlIdentity>,
    tokens: Tokens,
    control: Arc<TcpListener>,
    web: Arc<TcpListener>,
    https: Option<(Arc<TcpListener>, WebTls)>,
    /// Bytes of memory that the site's servers believe to be in use.
    pub memory_in_use: Arc<AtomicU64>,
    /// Settings for the next server; change them before [`Site::start`].
    pub config: Config,
}

/// A running server. It ends at once when dropped, as by `kill -9`.
#[derive(Debug)]
pub struct TestServer {
    /// The server's handle.
    pub handle: ServerHandle,
    shutdown: Option<oneshot::Sender<()>>,
    running: AbortOnDropHandle<()>,
}

/// Tokens that can be given, changed and revoked while a server runs.
#[derive(Clone, Debug, Default)]
struct Tokens(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    kept: RwLock<Kept>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    tokens: Vec<StoredToken>,
    reservations: Arc<Reservations>,
    used: HashMap<TokenId, Usage>,
}

impl Site {
    /// A site with a fresh key and open ports, and no server yet. TCP ports are the system's ephemeral ones.
    ///
    /// # Errors
    /// No port on loopback could be opened, or no key made.
    pub fn new() -> io::Result<Self> {
        let keys = generate_self_signed(&["localhost".to_owned()]).map_err(io::Error::other)?;
        let identity = ControlIdentity::from_pem(keys.cert_pem.as_bytes(), keys.key_pem.as_bytes());
        let mut config = Config::new(Hostname::parse("test").map_err(io::Error::other)?);
        config.bind = [127, 0, 0, 1].into();
        config.tcp_ports = Some(20_000..=29_999);
        config.udp_ports = Some(20_000..=29_999);
        Ok(Self {
            identity: Arc::new(identity.map_err(io::Error::other)?),
            tokens: Tokens::default(),
            control: Arc::new(TcpListener::bind("127.0.0.1:0")?),
            web: Arc::new(TcpListener::bind("127.0.0.1:0")?),
            https: None,
            memory_in_use: Arc::default(),
            config,
        })
    }

    /// Gives the site an https port that shows these certificates; the store changes them.
    ///
    /// # Errors
    /// No port on loopback could be opened.
    pub fn open_https(&mut self, certificates: &[WebCertificate]) -> io::Result<CertStore> {
        let store = CertStore::new(certificates);
        let tls = WebTls::new(store.clone()).map_err(io::Error::other)?;
        self.https = Some((Arc::new(TcpListener::bind("127.0.0.1:0")?), tls));
        Ok(store)
    }

    /// Starts a server on the site's sockets. They stay open between servers, as under a supervisor that holds
    /// them; start one server at a time.
    ///
    /// # Errors
    /// The sockets can't be used, or the settings don't fit together.
    pub fn start(&self, leases: Vec<SavedLease>) -> io::Result<TestServer> {
        let server = self.builder()?.leases(leases).build().map_err(io::Error::other)?;
        Ok(TestServer::run(server))
    }

    /// Starts another server in the place of `old`, on the same sockets, while visitors come; gives both. The old one
    /// drains then.
    ///
    /// # Errors
    /// As for [`Site::start`]; the old server goes on then.
    pub async fn succeed(&self, mut old: TestServer) -> io::Result<(TestServer, TestServer)> {
        let server = self.builder()?.closed().build().map_err(io::Error::other)?;
        let estate = old.handle.hand_over();
        let leases = estate.leases.clone();
        server.inherit(estate);
        let new = TestServer::run(server);
        old.handle.clients_moved(Duration::from_secs(10)).await;
        new.handle.let_go(&old.handle.given_up(&leases));
        new.handle.open();
        old.begin_drain();
        Ok((new, old))
    }

    /// Starts another server in the place of `old`, which takes its first client and dies before it takes visitors;
    /// `old` goes on.
    ///
    /// # Errors
    /// As for [`Site::start`].
    pub async fn fail_to_succeed(&self, old: &TestServer) -> io::Result<()> {
        let server = self.builder()?.closed().build().map_err(io::Error::other)?;
        server.inherit(old.handle.hand_over());
        let new = TestServer::run(server);
        old.handle.clients_moved(Duration::ZERO).await;
        let is_live =
            |new: &TestServer| new.handle.tunnel_counts().keys().any(|(_, state)| *state == TunnelState::Up);
        // The worst moment: the client is about to leave the old session for one that dies.
        while !is_live(&new) {
            tokio::task::yield_now().await;
        }
        // As with a process that was killed, nothing of it is left.
        new.abort().await;
        old.handle.take_back();
        Ok(())
    }

    fn builder(&self) -> io::Result<ServerBuilder> {
        let tls = ControlTls::Tls(acceptor(&self.identity).map_err(io::Error::other)?);
        let mut builder = Server::builder(self.config.clone())
            .control(Listener::from_std(self.control.try_clone()?)?, tls)
            .web(Listener::from_std(self.web.try_clone()?)?)
            .authenticator(self.tokens.clone())
            .memory(self.memory());
        if let Some((listener, tls)) = &self.https {
            builder = builder.https(Listener::from_std(listener.try_clone()?)?, tls.clone());
        }
        Ok(builder)
    }

    fn memory(&self) -> impl Fn() -> Option<u64> + Send + Sync + 'static {
        let in_use = self.memory_in_use.clone();
        move || Some(in_use.load(Ordering::Relaxed))
    }

    /// A new token that the site's servers take.
    pub fn token(&self, name: &str) -> Token {
        let mut random = [0; 32];
        getrandom::fill(&mut random).expect("invariant: the operating system gives random bytes");
        let token = Token::new(random, Some(*self.pin().as_bytes()));
        let stored = StoredToken::new(token.id(), name, token.hash(), Arc::default());
        self.tokens.change(|kept| kept.tokens.push(stored));
        token
    }

    /// Gives a token these rights, and no others.
    pub fn allow(&self, token: &Token, rights: Rights) {
        let rights = Arc::new(rights);
        self.tokens.change(|kept| {
            let ours = kept.tokens.iter_mut().filter(|kept| kept.id == token.id());
            ours.for_each(|kept| kept.rights = rights.clone());
        });
    }

    /// Sets these names aside for these tokens, and no others.
    pub fn reserve(&self, names: &[(&str, &Token)]) {
        let name = |name: &str| -> ReservedName { name.parse().expect("a name that can be reserved") };
        let reservations = names.iter().map(|(text, token)| (name(text), token.id())).collect();
        self.tokens.change(|kept| kept.reservations = Arc::new(reservations));
    }

    /// What a token's visitors used, as far as servers have said so.
    pub fn used(&self, token: &Token) -> Usage {
        self.tokens.read().used.get(&token.id()).copied().unwrap_or_default()
    }

    /// Revokes a token.
    pub fn revoke(&self, token: &Token) {
        self.tokens.change(|kept| kept.tokens.retain(|kept| kept.id != token.id()));
    }

    /// Begins a client of this site with a token.
    pub fn client(&self, token: &Token) -> Builder {
        self.client_at(self.control_address(), token)
    }

    /// Begins a client that reaches this site by another address: that of a relay.
    pub fn client_at(&self, address: SocketAddr, token: &Token) -> Builder {
        Client::builder(address.to_string()).token(token.clone()).trust(Trust::Pinned(self.pin()))
    }

    /// The pin of the site's key.
    pub fn pin(&self) -> Pin {
        self.identity.pin()
    }

    /// Where clients connect.
    pub fn control_address(&self) -> SocketAddr {
        self.control.local_addr().expect("invariant: a listening socket has an address")
    }

    /// Where visitors with TLS connect.
    ///
    /// # Panics
    /// The site has no https port.
    pub fn https_address(&self) -> SocketAddr {
        let (listener, _) = self.https.as_ref().expect("the test opened the https port");
        listener.local_addr().expect("invariant: a listening socket has an address")
    }

    /// Where web visitors connect.
    pub fn web_address(&self) -> SocketAddr {
        self.web.local_addr().expect("invariant: a listening socket has an address")
    }
}

impl TestServer {
    fn run(server: Server) -> Self {
        let handle = server.handle();
        let (shutdown, asked) = oneshot::channel::<()>();
        let running = server.run(async move {
            // A dropped sender is the drop of the whole test server, which aborts this task.
            if asked.await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        #[expect(clippy::disallowed_methods, reason = "owned: wrapped in AbortOnDropHandle")]
        let running = AbortOnDropHandle::new(tokio::spawn(running));
        Self { handle, shutdown: Some(shutdown), running }
    }

    /// Asks the server to drain and waits for its end.
    pub async fn drain(mut self) {
        if let Some(shutdown) = self.shutdown.take() {
            let _ = shutdown.send(());
        }
        let _ = (&mut self.running).await;
    }

    /// Ends the server at once, and waits until it has ended.
    pub async fn abort(mut self) {
        self.running.abort();
        let _ = (&mut self.running).await;
    }

    /// Waits until the server ends by itself.
    pub async fn ended(mut self) {
        let _ = (&mut self.running).await;
    }

    /// Asks the server to drain; [`TestServer::drain`] then waits.
    pub fn begin_drain(&mut self) {
        if let Some(shutdown) = self.shutdown.take() {
            let _ = shutdown.send(());
        }
    }
}

impl Tokens {
    fn change(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.write());
        self.0.changes.send_modify(|count| *count += 1);
    }

    fn read(&self) -> RwLockReadGuard<'_, Kept> {
        self.0.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.0.kept.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Authenticator for Tokens {
    fn authenticate(&self, login: Login<'_>) -> Option<Identity> {
        let id = token_id(login.credential);
        check(self.read().tokens.iter().find(|token| Some(token.id) == id), login)
    }

    fn rights(&self, identity: &Identity) -> Option<Arc<Rights>> {
        self.read().tokens.iter().find(|token| token.id == identity.token)?.rights_of(identity)
    }

    fn reservations(&self) -> Arc<Reservations> {
        self.read().reservations.clone()
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.0.changes.subscribe())
    }

    fn charge(&self, token: TokenId, used: Usage) {
        *self.write().used.entry(token).or_default() += used;
    }

    fn used_this_month(&self, token: TokenId) -> Option<u64> {
        Some(self.read().used.get(&token).map_or(0, Usage::bytes))
    }
}
