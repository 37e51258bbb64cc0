//! `tunnel http`, `tunnel tcp`, `tunnel tls`, `tunnel udp` and `tunnel client`: one tunnel, for as long as it is wanted.

use std::time::{Duration, Instant, SystemTime};

use tunnel_client::{BindError, Client, Code, Event, Events, Limits, PublicAddress, Tunnel, TunnelEnd};

use super::{
    Failure,
    descriptors::visitor_places,
    leaving::{Leaving, Parting, parting},
    signals::Signals,
};
use crate::{
    args::{Output, WebName},
    output::{At, Console, Narrator, Subject, missed},
    resolve::client::{ClientPlan, Publish, SessionPlan, Target, TunnelPlan},
    state::{instance, names::Name, places},
};

/// Publishes until asked to stop, then drains.
pub(super) async fn run(plan: ClientPlan, console: Console) -> Result<(), Failure> {
    let mut signals = Signals::of_a_client()?;
    for warning in &plan.warnings {
        console.warning(warning);
    }
    let mut name = open_name(&plan.session, &plan.tunnel, console);
    let ClientPlan { session, tunnel, .. } = plan;
    let subject = subject(&tunnel, session.verbose);
    let mut show = Show::new(session.output, subject, console);

    let client = builder(&session.target, session.state.as_deref(), console)
        .report_requests(session.verbose)
        .start()?;
    let events = client.events();
    let binding = bind(&client, &tunnel, name.as_ref().and_then(Name::former).map(str::to_owned), None);
    let online = |tunnel: &Tunnel| {
        if let (Some(name), Some(address)) = (&mut name, tunnel.address())
            && let Some(given) = given_name(&address)
            && let Err(error) = name.remember(&given)
        {
            console.warning(&error.to_string());
        }
    };
    let end = follow(&client, events, binding, &mut show, &mut signals, session.grace, online).await;
    show.end(&end);
    end
}

/// A client for a target, known to be the same installation as last time.
pub(super) fn builder(
    target: &Target,
    state: Option<&std::path::Path>,
    console: Console,
) -> tunnel_client::Builder {
    let limits = Limits::default();
    let limits = Limits { max_visitors: visitor_places(limits.max_visitors), ..limits };
    let mut builder = Client::builder(target.server.to_string()).machine(&places::machine()).limits(limits);
    if let Some(token) = &target.token {
        builder = builder.token(token.clone());
    }
    if let Some(trust) = &target.trust {
        builder = builder.trust(trust.clone());
    }
    if let Some(proxy) = &target.proxy {
        builder = builder.proxy(proxy.clone());
    }
    match state.map(instance::load_or_make) {
        Some(Ok(id)) => builder = builder.instance(id),
        Some(Err(error)) => console.warning(&format!("{error}; names may change after a restart")),
        None => {}
    }
    builder
}

/// Shows a client and its one tunnel, until the client ends, the tunnel ends, or a person says so.
pub(super) async fn follow(
    client: &Client,
    mut events: Events,
    binding: impl Future<Output = Result<Tunnel, BindError>>,
    show: &mut Show,
    signals: &mut Signals,
    grace: Duration,
    mut online: impl FnMut(&Tunnel),
) -> Result<(), Failure> {
    let mut binding = std::pin::pin!(binding);
    let mut bound = Bound::Waiting;
    let mut _over = Bound::Over;
    let mut draining: Option<Leaving<'_>> = None;
    let mut by_signal = false;
    let mut reason: Option<Failure> = None;
    let end = loop {
        tokio::select! {
            biased;
            // A name is noted before it is told: who reads it may count on it.
            result = &mut binding, if matches!(bound, Bound::Waiting) => match result {
                Ok(tunnel) => {
                    online(&tunnel);
                    bound = Bound::To(tunnel);
                }
                // The client's own end says more.
                Err(BindError::Ended(_)) => bound = Bound::Over,
                Err(error) => break Err(error.into()),
            },
            // What happened is told before what it led to.
            Some(event) = events.next() => {
                show.tell(&event);
                if let (Event::Online { .. }, Bound::To(tunnel)) = (&event, &bound) {
                    online(tunnel);
                }
            }
            end = bound.over() => {
                // Not dropped yet: visitors may be on their way to it.
                _over = std::mem::replace(&mut bound, Bound::Over);
                match end {
                    // The client's own end says more.
                    TunnelEnd::Client(_) => {}
                    // What was asked for has been done, and was not a failure: a service manager that restarts those
                    // must not begin the time anew.
                    TunnelEnd::Refused(refusal) if refusal.code == Code::Expired => {
                        draining.get_or_insert_with(|| Leaving::begin(client, grace));
                    }
                    // Visitors who were there before another client took the name are still this one's.
                    TunnelEnd::Refused(ref refusal) if refusal.code == Code::TakenOver => {
                        draining.get_or_insert_with(|| Leaving::begin(client, grace));
                        reason = Some(Failure::Tunnel(end));
                    }
                    end => break Err(Failure::Tunnel(end)),
                }
            }
            // Who leaves knows who was left behind.
            end = client.closed(), if draining.is_none() => break end.map_err(Failure::from),
            signal = signals.next() => {
                if draining.is_some() {
                    break Err(Failure::Killed(signal));
                }
                draining = Some(Leaving::begin(client, grace));
                by_signal = true;
            }
            parting = parting(&mut draining) => match parting {
                Parting::Waits => show.leaving(client, grace, by_signal),
                Parting::Over { cut } => {
                    show.left(cut);
                    break client.closed().await.map_err(Failure::from);
                }
            },
        }
    };
    while let Some(event) = next_if_ready(&mut events).await {
        show.tell(&event);
    }
    // That the draining went well doesn't make it one that was wanted.
    reason.map_or(end, Err)
}

/// The one tunnel.
enum Bound {
    Waiting,
    To(Tunnel),
    Over,
}

impl Bound {
    /// Why the tunnel is over, once it is; waits for ever if there is none.
    async fn over(&self) -> TunnelEnd {
        match self {
            Self::To(tunnel) => tunnel.closed().await,
            Self::Waiting | Self::Over => std::future::pending().await,
        }
    }
}

pub(super) async fn next_if_ready(events: &mut Events) -> Option<Event> {
    tokio::select! {
        biased;
        event = events.next() => event,
        () = std::future::ready(()) => None,
    }
}

/// What a tunnel's story is about.
pub(super) fn subject(tunnel: &TunnelPlan, verbose: bool) -> Subject {
    let (upstream, held) = match tunnel.publish {
        Publish::Http(_) => (tunnel.upstream.url(), "name"),
        Publish::Tls { .. } => (tunnel.upstream.to_string(), "name"),
        Publish::Tcp { .. } | Publish::Udp { .. } => (tunnel.upstream.to_string(), "port"),
    };
    Subject { upstream, held, verbose }
}

/// Asks for the tunnel, by the `former` name if the server is to choose one, and in the place of another one of this
/// client.
pub(super) async fn bind(
    client: &Client,
    plan: &TunnelPlan,
    former: Option<String>,
    replaced: Option<&Tunnel>,
) -> Result<Tunnel, BindError> {
    match &plan.publish {
        Publish::Http(WebName { subdomain, domain, path, pool }) => {
            let tunnel = client.http().upstream_protocol(plan.protocol).policies(plan.policies.clone());
            let tunnel = match (subdomain, domain, former) {
                (Some(subdomain), ..) => tunnel.subdomain(subdomain),
                (None, Some(domain), _) => tunnel.domain(domain),
                (None, None, Some(former)) => tunnel.preferred(former),
                (None, None, None) => tunnel,
            };
            let tunnel = if let Some(path) = path { tunnel.path(path) } else { tunnel };
            let tunnel = if let Some(replaced) = replaced { tunnel.replacing(replaced) } else { tunnel };
            tunnel.pool(*pool).forward(plan.upstream.clone()).await
        }
        Publish::Tcp { remote_port, pool } => {
            let tunnel = client.tcp().policies(plan.policies.clone()).pool(*pool);
            let tunnel = match (remote_port, former.and_then(|former| former.parse().ok())) {
                (Some(port), _) => tunnel.remote_port(*port),
                (None, Some(former)) => tunnel.preferred(former),
                (None, None) => tunnel,
            };
            let tunnel = if let Some(replaced) = replaced { tunnel.replacing(replaced) } else { tunnel };
            tunnel.forward(plan.upstream.clone()).await
        }
        Publish::Tls { subdomain, domain, pool } => {
            let tunnel = client.tls().policies(plan.policies.clone()).pool(*pool);
            let tunnel = match (subdomain, domain, former) {
                (Some(subdomain), ..) => tunnel.subdomain(subdomain),
                (None, Some(domain), _) => tunnel.domain(domain),
                (None, None, Some(former)) => tunnel.preferred(former),
                (None, None, None) => tunnel,
            };
            let tunnel = if let Some(replaced) = replaced { tunnel.replacing(replaced) } else { tunnel };
            tunnel.forward(plan.upstream.clone()).await
        }
        Publish::Udp { remote_port, pool } => {
            let tunnel = client.udp().policies(plan.policies.clone()).pool(*pool);
            let tunnel = match (remote_port, former.and_then(|former| former.parse().ok())) {
                (Some(port), _) => tunnel.remote_port(*port),
                (None, Some(former)) => tunnel.preferred(former),
                (None, None) => tunnel,
            };
            let tunnel = if let Some(replaced) = replaced { tunnel.replacing(replaced) } else { tunnel };
            tunnel.forward(plan.upstream.clone()).await
        }
    }
}

/// The memory of the name, where the server is to choose one.
pub(super) fn open_name(session: &SessionPlan, tunnel: &TunnelPlan, console: Console) -> Option<Name> {
    let (kind, path, pool) = match &tunnel.publish {
        Publish::Http(WebName { subdomain: None, domain: None, path, pool }) => {
            ("http", path.as_deref(), *pool)
        }
        Publish::Tcp { remote_port: None, pool } => ("tcp", None, *pool),
        Publish::Tls { subdomain: None, domain: None, pool } => ("tls", None, *pool),
        Publish::Udp { remote_port: None, pool } => ("udp", None, *pool),
        _ => return None,
    };
    // A name that is to be shared is not the one that this upstream has for itself, nor is that of another path.
    let kind = [Some(kind), path, pool.then_some("pool")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let (server, upstream) = (session.target.server.to_string(), tunnel.upstream.to_string());
    match Name::open(session.state.as_deref()?, &server, &kind, &upstream) {
        Ok(name) => Some(name),
        Err(error) => {
            console.warning(&format!("{error}; the name may change after a restart"));
            None
        }
    }
}

pub(super) fn given_name(address: &PublicAddress) -> Option<String> {
    match address {
        PublicAddress::Http { subdomain, .. } | PublicAddress::Tls { subdomain, .. } => subdomain.clone(),
        PublicAddress::Tcp { port, .. } | PublicAddress::Udp { port, .. } => Some(port.to_string()),
        _ => None,
    }
}

/// Prints a client's story.
pub(super) struct Show {
    narrator: Narrator,
    console: Console,
    started: Instant,
}

impl Show {
    pub(super) fn new(form: Output, subject: Subject, console: Console) -> Self {
        let console = console.in_background(move |lost| missed(form, lost));
        Self { narrator: Narrator::new(form, subject), console, started: Instant::now() }
    }

    fn tell(&mut self, event: &Event) {
        let lines = self.narrator.tell(event, self.now());
        lines.iter().for_each(|line| self.console.line(line));
    }

    fn leaving(&mut self, client: &Client, grace: Duration, by_signal: bool) {
        let lines = self.narrator.leaving(client.status().visitors, grace, by_signal);
        lines.iter().for_each(|line| self.console.line(line));
    }

    fn left(&mut self, cut: usize) {
        self.narrator.left(cut).iter().for_each(|line| self.console.line(line));
    }

    pub(super) fn end(&mut self, end: &Result<(), Failure>) {
        // The last line finds room.
        self.console.flush();
        let ending = end.as_ref().err().map(Failure::ending);
        let lines = self.narrator.end(self.now(), ending.as_ref());
        lines.iter().for_each(|line| self.console.line(line));
        self.console.finish();
    }

    fn now(&self) -> At {
        At { since: self.started.elapsed(), wall: SystemTime::now() }
    }
}
