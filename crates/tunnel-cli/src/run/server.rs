//! `tunnel server`.

use std::{fmt, net::SocketAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tracing::warn;
use tunnel_admin::{NoTokens, Tokens};
use tunnel_server::{AllowAll, Config, ControlTls, Rights, Server, WebTls};
use tunnel_store::{Actor, NewToken};
use tunnel_transport::{ControlIdentity, acceptor};

use super::{
    Failure,
    admin::{self, Admin},
    descriptors::visitor_places,
    keeper::Keeper,
    lease_keeping::LeaseKeeping,
    notify::Notifier,
    reload::{Reloading, Running},
    signals::{Hangups, Signals},
    sockets::{Sockets, Wanted},
    upgrade::{self, Parts, Predecessor},
};
use crate::{
    access_log::{AccessLog, AccessLogPlan},
    args::{Auth, LogFormat},
    machine::Machine,
    output::{Console, chain},
    program::Program,
    resolve::server::{ServerPlan, Tls},
    state::{certificates::Certificates, facts::Facts, files, identity, leases, ownership::Ownership, store},
    traces::Traces,
};

/// The token made when there is none.
const FIRST_TOKEN: &str = "default";
/// How long the disk may take for the last leases.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Serves until asked to stop or replaced by another process, then drains.
pub(super) async fn run(
    plan: ServerPlan,
    reloading: Reloading,
    program: Program,
    console: Console,
) -> Result<(), Failure> {
    let mut predecessor = Predecessor::meet(&program).await?;
    let served = serve(plan, reloading, program, &mut predecessor, console).await;
    if let (Err(failure), Some(predecessor)) = (&served, predecessor) {
        predecessor.fail(&failure.line()).await;
    }
    served
}

/// The predecessor, if there is one, is gone when it has handed over.
async fn serve(
    plan: ServerPlan,
    reloading: Reloading,
    program: Program,
    predecessor: &mut Option<Predecessor>,
    console: Console,
) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    refuse_to_be_open_to_all(&plan, [plan.control, plan.web].into_iter().chain(plan.https))?;
    let identity = identity(&plan)?;
    let certificates = Certificates::load(&plan.certificates)?;
    let wanted = Wanted {
        control: plan.control,
        web: plan.web,
        https: plan.https,
        admin: plan.admin.as_ref().map(|admin| admin.address),
    };
    let sockets = match predecessor {
        Some(predecessor) => Sockets::with(wanted, predecessor.sockets())?,
        None => Sockets::open(wanted, &program.socket_names)?,
    };
    let shared = sockets.share().map_err(Failure::Inherit)?;
    let addresses = addresses(&sockets)?;
    refuse_to_be_open_to_all(&plan, addresses.all())?;
    note_facts(&plan, &addresses)?;

    let mut builder = Server::builder(plan.engine_config());
    for listener in sockets.control {
        builder = builder.control(listener, control_tls(&plan, &identity)?);
    }
    for listener in sockets.web {
        builder = builder.web(listener);
    }
    let web_tls = WebTls::new(certificates.store())?;
    let door = admin::door(&plan, &web_tls, sockets.admin)?;
    for listener in sockets.https {
        builder = builder.https(listener, web_tls.clone());
    }
    let store = store::open(&plan.data)?;
    store.take_over().map_err(store::StoreError::from)?;
    let pin = (!matches!(plan.tls, Tls::Files { .. })).then(|| *identity.pin().as_bytes());
    if let Some(machine) = Machine::find() {
        builder = builder.memory(machine);
    }
    let builder = match plan.auth {
        Auth::Token => builder.authenticator(store.clone()),
        Auth::None => builder.authenticator(AllowAll),
    };
    let takes_over = predecessor.is_some();
    let (ownership, keeps_leases) = ownership(&plan, predecessor.as_mut(), console);
    let server = match predecessor {
        None => builder.leases(saved_leases(&plan)),
        Some(_) => builder.closed(),
    }
    .build()?;
    let events = server.handle().subscribe();
    if let Some(predecessor) = predecessor {
        server.inherit(predecessor.inherit().await?);
    }

    let access_log = AccessLog::begin(plan.access_log.as_ref(), &server.handle())?;
    let traces = Traces::begin(plan.traces.as_ref(), &server.handle())?;
    let dashboard = door.as_ref().map(tunnel_admin::WebDoor::url);
    let announcement = Announcement { plan: &plan, identity: &identity, addresses, dashboard };
    for warning in certificates.warnings() {
        console.warning(&warning);
    }
    let handle = server.handle();
    let mut admin = JoinSet::new();
    let tokens: Arc<dyn Tokens> = match plan.auth {
        Auth::Token => Arc::new(Keeper::new(store.clone(), pin, Some(plan.config.domain.clone()))),
        Auth::None => Arc::new(NoTokens),
    };
    let taken_back = watch::Sender::new(());
    let shown = Admin::new(&plan, handle.clone(), tokens, console);
    admin.spawn(shown.run(door, takes_over, taken_back.subscribe()));
    let mut keeping = JoinSet::new();
    let file = (plan.data.clone(), keeps_leases);
    let leases = LeaseKeeping::begin(file, handle.clone(), events, &mut keeping);
    let mut noting = JoinSet::new();
    noting.spawn(store::keep(store.clone(), handle.subscribe()));
    let mut renewing = JoinSet::new();
    let mut hangups = Hangups::listen()?;
    let (renew, renewed) = mpsc::channel(1);
    renewing.spawn(certificates.keep(async move || hangups.next().await, renewed));
    let grace = {
        let handle = handle.clone();
        move || handle.config().timeouts.grace.as_secs()
    };
    let notifier = Arc::new(Notifier::new(!takes_over));
    let upgrades = upgrade::listen(
        &plan.data,
        predecessor.take(),
        Parts {
            program,
            handle: handle.clone(),
            sockets: shared,
            ownership,
            leases: leases.clone(),
            taken_back,
            notifier: notifier.clone(),
            console,
        },
    )?;
    // As late as this, since a start that ends before would leave a token that nobody was shown. Where there are tokens
    // the store isn't asked: it may be busy for longer than a predecessor waits for the first sign of life.
    let first_token = match plan.auth {
        Auth::Token if store.tokens().is_empty() && !store.had_tokens().await? => {
            let new = NewToken { name: FIRST_TOKEN.into(), rights: Rights::default(), pin };
            Some(store.create(new, Actor::Server).await?)
        }
        _ => None,
    };
    if plan.auth == Auth::Token && store.tokens().is_empty() {
        console.warning(&format!(
            "no token is left, so no client can log in; make one: tunnel token create NAME --data-dir {}",
            plan.data.display()
        ));
    }
    if plan.auth == Auth::Token {
        let clashes = store::reserved_twice(&store.reserved(), &plan.config.domain);
        clashes.iter().for_each(|clash| console.warning(clash));
    }
    // Whoever reads it may ask at the admin socket at once.
    announcement.print(console, first_token.map(|token| token.expose()).as_deref());
    notifier.ready();
    renewing.spawn(reloading.keep(Running {
        plan,
        handle: handle.clone(),
        certificates: renew,
        notifier: notifier.clone(),
    }));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = server.run(async {
        // Dropped or sent, it means the same.
        let _ = stopped.await;
    });
    let draining = |why: &dyn fmt::Display| {
        console.remark(&format!("{why}: draining, for at most {} s; again to stop at once", grace()));
    };
    let stopping = async {
        tokio::select! {
            first = signals.next() => {
                notifier.stopping();
                draining(&first);
                drop(stop);
            }
            replaced = upgrades => {
                replaced?;
                // The successor answers from now on.
                admin.abort_all();
                drop(stop);
                // It may be told to stop together with its successor, and drains already.
                draining(&signals.next().await);
            }
        }
        Err(Failure::Killed(signals.next().await))
    };
    let end = tokio::select! {
        () = serving => Ok(()),
        cut = stopping => cut,
        never = notifier.keep(&handle) => match never {},
    };
    if matches!(end, Err(Failure::Disowned)) {
        // The file is the other process's again.
        keeping.abort_all();
    }
    access_log.end().await;
    traces.end().await;
    // The last leases, and what was used last, are written before the process ends, on a disk that works.
    leases.written(LAST_WRITE).await;
    let _ = timeout(LAST_WRITE, store.flush()).await;
    end
}

impl ServerPlan {
    /// What the engine is told: the settings, within what this process may open.
    pub(super) fn engine_config(&self) -> Config {
        let mut config = self.config.clone();
        config.limits.connections = visitor_places(config.limits.connections);
        config
    }
}

/// The server's own key is made even when it isn't used for TLS: tokens carry its pin, whatever comes later.
fn identity(plan: &ServerPlan) -> Result<ControlIdentity, Failure> {
    let identity = match &plan.tls {
        Tls::Files { certificate, key } => identity::load(certificate, key)
            .map_err(|error| error.naming([(certificate, "--control-cert"), (key, "--control-key")]))?,
        Tls::Own | Tls::Plaintext => {
            let mut names = vec![plan.config.domain.as_str().to_owned()];
            names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
            names.dedup();
            identity::load_or_make(&plan.data, &names)?
        }
    };
    Ok(identity)
}

/// For the commands that run beside it.
fn note_facts(plan: &ServerPlan, addresses: &Addresses) -> Result<(), Failure> {
    let flag = if plan.tls == Tls::Plaintext { " --plaintext" } else { "" };
    let facts = Facts::new(!matches!(plan.tls, Tls::Files { .. }));
    Ok(facts.reached_by(format!("{}{flag}", login(plan, addresses))).save(&plan.data)?)
}

/// What clients call this server.
fn login(plan: &ServerPlan, addresses: &Addresses) -> String {
    let port = addresses.control.first().map_or(0, SocketAddr::port);
    format!("{}:{port}", plan.config.domain.as_str())
}

fn control_tls(plan: &ServerPlan, identity: &ControlIdentity) -> Result<ControlTls, Failure> {
    match plan.tls {
        Tls::Plaintext => Ok(ControlTls::Plaintext),
        Tls::Own | Tls::Files { .. } => Ok(ControlTls::Tls(acceptor(identity)?)),
    }
}

/// What makes the data directory this server's: its predecessor's, or what nobody else has. A server serves without it
/// as well, but leaves the file of leases to the one that has it. Also says whether this one keeps that file.
fn ownership(
    plan: &ServerPlan,
    predecessor: Option<&mut Predecessor>,
    console: Console,
) -> (Option<Ownership>, bool) {
    if let Some(passed) = predecessor.and_then(Predecessor::ownership) {
        return (Some(passed), true);
    }
    match Ownership::take(&plan.data) {
        Ok(Some(taken)) => (Some(taken), true),
        Ok(None) => {
            console.warning(
                "names of this server are not kept over a restart: another server uses this data directory",
            );
            (None, false)
        }
        // Some file systems have no locks.
        Err(error) => {
            let why = chain(&error);
            console.warning(&format!("another server on this data directory would not be noticed: {why}"));
            (None, true)
        }
    }
}

/// A server starts without its leases rather than not at all.
fn saved_leases(plan: &ServerPlan) -> Vec<tunnel_server::SavedLease> {
    leases::load(&plan.data).unwrap_or_else(|error| {
        warn!(%error, "the saved leases can't be read; names are free for anyone");
        Vec::new()
    })
}

fn refuse_to_be_open_to_all(
    plan: &ServerPlan,
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> Result<(), Failure> {
    let open = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
    match addresses.into_iter().find(open) {
        Some(address) if plan.auth == Auth::None => Err(Failure::OpenToAll(address)),
        _ => Ok(()),
    }
}

/// What can be said of a plan without listening: what is found out at the start anyway.
///
/// # Errors
/// As [`run`]'s.
pub(super) fn check(plan: &ServerPlan) -> Result<(), Failure> {
    let ports = [
        ("--control-port", Some(plan.control)),
        ("--public-port", Some(plan.web)),
        ("--https-port", plan.https),
        ("--admin-port", plan.admin.as_ref().map(|admin| admin.address)),
    ];
    let ports: Vec<_> = ports.into_iter().filter_map(|(flag, address)| Some((flag, address?))).collect();
    for (at, (flag, address)) in ports.iter().enumerate() {
        let clashes = |(_, other): &&(&str, SocketAddr)| {
            let meet =
                address.ip() == other.ip() || address.ip().is_unspecified() || other.ip().is_unspecified();
            address.port() != 0 && address.port() == other.port() && meet
        };
        if let Some((other, _)) = ports[..at].iter().find(clashes) {
            let port = address.port();
            return Err(Failure::Usage(format!(
                "{other} and {flag} are both {port}; choose another for one of them"
            )));
        }
    }
    refuse_to_be_open_to_all(plan, [plan.control, plan.web].into_iter().chain(plan.https))?;
    admin::check(plan)
}

/// Whether the files and directories of a plan are there, or can be made; nothing is.
///
/// # Errors
/// What would keep the server from starting.
pub(super) fn check_places(plan: &ServerPlan) -> Result<(), Failure> {
    if matches!(plan.tls, Tls::Files { .. }) {
        identity(plan)?;
    }
    files::check_directory(&plan.data)?;
    plan.access_log.as_ref().map_or(Ok(()), AccessLogPlan::check)
}

/// What is listened on, with the ports that the system chose.
struct Addresses {
    control: Vec<SocketAddr>,
    web: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
}

impl Addresses {
    fn all(&self) -> impl Iterator<Item = SocketAddr> {
        self.control.iter().chain(&self.web).chain(&self.https).copied()
    }
}

fn addresses(sockets: &Sockets) -> Result<Addresses, Failure> {
    let all = |listeners: &[tunnel_server::Listener]| {
        listeners
            .iter()
            .map(tunnel_server::Listener::local_addr)
            .collect::<Result<_, _>>()
            .map_err(Failure::Inherit)
    };
    Ok(Addresses { control: all(&sockets.control)?, web: all(&sockets.web)?, https: all(&sockets.https)? })
}

/// What the server says before it begins.
struct Announcement<'a> {
    plan: &'a ServerPlan,
    identity: &'a ControlIdentity,
    addresses: Addresses,
    /// Where the dashboard is, if there is one.
    dashboard: Option<String>,
}

impl Announcement<'_> {
    fn print(&self, console: Console, first_token: Option<&str>) {
        if self.plan.tls == Tls::Plaintext {
            console.warning(
                "--plaintext: whoever is between here and a client can read and change what visitors send",
            );
        }
        if self.plan.auth == Auth::None {
            console.warning("--auth none: every program on this machine can publish names");
        }
        match self.plan.format {
            LogFormat::Text => self.text(console, first_token),
            LogFormat::Json => self.json(console, first_token),
        }
    }

    fn text(&self, console: Console, first_token: Option<&str>) {
        let domain = self.plan.config.domain.as_str();
        let how = match self.plan.tls {
            Tls::Own => format!("TLS, key pin {:.16}…", self.identity.pin()),
            Tls::Files { .. } => "TLS, your certificate".into(),
            Tls::Plaintext => "no TLS".into(),
        };
        for address in &self.addresses.control {
            console.line(&format!("clients: {address} ({how})"));
        }
        console.line(&format!("web: http://*.{domain}{}", self.web_port()));
        if let Some(port) = self.https_port() {
            let scheme = if self.plan.certificates.is_empty() { "tls" } else { "https" };
            console.line(&format!("web: {scheme}://*.{domain}{port}"));
        }
        let config = &self.plan.config;
        for (kind, ports) in [("tcp", &config.tcp_ports), ("udp", &config.udp_ports)] {
            if let Some(ports) = ports {
                console.line(&format!("{kind} ports: {}-{}", ports.start(), ports.end()));
            }
        }
        if let Some(url) = &self.dashboard {
            console.line(&format!("dashboard: {url} (sign in: tunnel dashboard)"));
        }
        if let Some(token) = first_token {
            let flag = if self.plan.tls == Tls::Plaintext { " --plaintext" } else { "" };
            console.line(&format!(
                "There were no tokens: this one is called `{FIRST_TOKEN}`. Type on the laptop:"
            ));
            console.line(&format!("  tunnel login {} --token {token}{flag}", self.login()));
            console.line("  tunnel http 3000");
        }
        if self.plan.auth == Auth::None {
            let trust = match self.plan.tls {
                // Nobody has a token to take the pin from.
                Tls::Own => format!(" --ca-file {}", identity::certificate_path(&self.plan.data).display()),
                Tls::Files { .. } => String::new(),
                Tls::Plaintext => " --plaintext".into(),
            };
            console.line("Anyone on this machine may type:");
            console.line(&format!("  tunnel http 3000 --server {}{trust}", self.login()));
        }
    }

    /// One object for the addresses, `listening`; one for the token, `token-created`.
    fn json(&self, console: Console, first_token: Option<&str>) {
        let range = |ports: &RangeInclusive<u16>| format!("{}-{}", ports.start(), ports.end());
        let config = &self.plan.config;
        let listening = json!({
            "event": "listening",
            "pid": std::process::id(),
            "control": self.addresses.control.first(),
            "web": self.addresses.web.first(),
            "https": self.addresses.https.first(),
            "tcp_ports": config.tcp_ports.as_ref().map(range),
            "udp_ports": config.udp_ports.as_ref().map(range),
            "domain": self.plan.config.domain.as_str(),
            "pin": self.identity.pin().to_string(),
            "dashboard": self.dashboard,
        });
        console.line(&listening.to_string());
        if let Some(token) = first_token {
            let created = json!({ "event": "token-created", "name": FIRST_TOKEN, "token": token, "server": self.login() });
            console.line(&created.to_string());
        }
    }

    fn login(&self) -> String {
        login(self.plan, &self.addresses)
    }

    fn https_port(&self) -> Option<String> {
        let listener = self.addresses.https.first()?.port();
        Some(match self.plan.config.public_https_port.unwrap_or(listener) {
            443 => String::new(),
            port => format!(":{port}"),
        })
    }

    fn web_port(&self) -> String {
        let listener = self.addresses.web.first().map_or(0, SocketAddr::port);
        match self.plan.config.public_port.unwrap_or(listener) {
            80 => String::new(),
            port => format!(":{port}"),
        }
    }
}
