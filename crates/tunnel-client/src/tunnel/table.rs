//! Which tunnels the client wants, and what becomes of their visitors: the one truth that outlives sessions.
//!
//! The session's supervisor makes the server agree with it, after every connect and every change; the streams of
//! every lane look their tunnel up in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until},
};
use tunnel_protocol::{
    BindSpec, ClientMessage, Code, Policy, Refusal, Token, TokenHash, TunnelId,
    bind::{HttpSpec, PublicAddress, TlsSpec},
};

use super::{Conn, TunnelState};
use crate::{
    BindError, ClientError, TunnelEnd,
    forward::{Target, Upstream},
};

/// How long the server's own word on a tunnel's end is waited for.
const SERVER_FIRST: Duration = Duration::from_secs(3);

/// All tunnels of a client.
pub(crate) struct Table {
    max: usize,
    /// Who owns them, as logins are told by.
    token: Option<TokenHash>,
    inner: Mutex<Inner>,
    /// Rung after every change of what is wanted.
    changed: Notify,
}

struct Inner {
    /// The next tunnel's id. Ids are never used twice.
    next: u64,
    entries: BTreeMap<TunnelId, Arc<Entry>>,
    /// Once the client has ended: with the reason, unless it was asked to.
    ended: Option<Option<ClientError>>,
}

/// One tunnel.
pub(crate) struct Entry {
    pub(crate) id: TunnelId,
    pub(crate) handler: Handler,
    spec: BindSpec,
    policies: Vec<Policy>,
    /// Whose place it takes.
    former: Option<Former>,
    /// Whether it is wanted no longer, and only serves who is under way.
    is_retired: AtomicBool,
    /// When its time is over, known once it was first online.
    expires: OnceLock<Instant>,
    state: watch::Sender<TunnelState>,
    end: Mutex<Option<TunnelEnd>>,
}

/// A tunnel whose place another one takes.
#[derive(Clone, Debug)]
pub(crate) struct Former {
    pub(crate) id: TunnelId,
    pub(crate) address: Option<PublicAddress>,
}

/// What becomes of a tunnel's visitors.
pub(crate) enum Handler {
    /// They are connected to an upstream.
    Forward(Target),
    /// Their datagrams are passed on to an upstream.
    Datagrams(Upstream),
    /// They wait for somebody to accept them: the program, or the client's own server of an upstream.
    Listen(mpsc::Sender<Conn>, Option<Upstream>),
}

impl Table {
    /// An empty table with room for `max` tunnels.
    pub(crate) fn new(max: usize) -> Self {
        let inner = Inner { next: 1, entries: BTreeMap::new(), ended: None };
        Self { max, token: None, inner: Mutex::new(inner), changed: Notify::new() }
    }

    /// The same, with the owner's token.
    pub(crate) fn of(self, token: Option<&Token>) -> Self {
        Self { token: token.map(Token::hash), ..self }
    }

    /// Whose they are.
    pub(crate) fn token(&self) -> Option<&TokenHash> {
        self.token.as_ref()
    }

    /// Wants one more tunnel, for as long as the registration lives.
    pub(crate) fn add(
        self: &Arc<Self>,
        spec: BindSpec,
        policies: Vec<Policy>,
        handler: Handler,
        former: Option<Former>,
    ) -> Result<Registration, BindError> {
        let mut inner = self.lock();
        if let Some(reason) = &inner.ended {
            return Err(BindError::Ended(reason.clone()));
        }
        let others = inner.others(former.as_ref());
        if others >= self.max {
            return Err(BindError::TooMany(others));
        }
        let id = TunnelId(inner.next);
        inner.next += 1;
        let state = watch::Sender::new(TunnelState::Binding);
        let (is_retired, expires, end) = (AtomicBool::new(false), OnceLock::new(), Mutex::new(None));
        let entry = Entry { id, handler, spec, policies, former, is_retired, expires, state, end };
        let entry = Arc::new(entry);
        inner.entries.insert(id, Arc::clone(&entry));
        drop(inner);
        self.changed.notify_one();
        Ok(Registration { table: Arc::clone(self), entry })
    }

    /// The tunnel a stream is for.
    pub(crate) fn get(&self, id: TunnelId) -> Option<Arc<Entry>> {
        self.lock().entries.get(&id).cloned()
    }

    /// All tunnels that are wanted, in the order they were asked for.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.lock().entries.values().filter(|entry| !entry.is_retired()).cloned().collect()
    }

    /// `entry` is online: the one whose place it takes isn't wanted any more, and keeps its visitors.
    pub(crate) fn took_over(&self, entry: &Entry) {
        if let Some(former) = entry.former.as_ref().and_then(|former| self.get(former.id)) {
            self.retire(&former, TunnelEnd::Replaced);
        }
    }

    /// Another client serves it: it isn't wanted any more, and keeps its visitors.
    pub(crate) fn taken_over(&self, id: TunnelId, end: TunnelEnd) {
        if let Some(entry) = self.get(id) {
            self.retire(&entry, end);
        }
    }

    fn retire(&self, entry: &Entry, end: TunnelEnd) {
        if !entry.is_retired.swap(true, Ordering::Relaxed) {
            entry.finish(end);
            self.changed.notify_one();
        }
    }

    /// No longer wants a tunnel.
    pub(crate) fn end(&self, id: TunnelId, end: TunnelEnd) {
        let removed = self.lock().entries.remove(&id);
        if let Some(entry) = removed {
            entry.finish(end);
            self.changed.notify_one();
        }
    }

    /// Wants nothing any more, and takes nothing more.
    pub(crate) fn end_all(&self, reason: Option<&ClientError>) {
        let mut inner = self.lock();
        inner.ended.get_or_insert_with(|| reason.cloned());
        let entries = std::mem::take(&mut inner.entries);
        drop(inner);
        for entry in entries.into_values() {
            entry.finish(TunnelEnd::Client(reason.cloned()));
        }
    }

    /// Waits for a change of what is wanted since the last wait.
    ///
    /// # Cancel safety
    /// A change is not missed, whether before, while or after the wait.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// How many tunnels there are beside a new one that is to take the place of `former`. A tunnel and the one that is
    /// about to take its place are one: a client that has as many as it may can still change all of them at once.
    fn others(&self, former: Option<&Former>) -> usize {
        let wanted = || self.entries.values().filter(|entry| !entry.is_retired());
        let formers = wanted().filter_map(|entry| entry.former.as_ref()).chain(former);
        let replaced: BTreeSet<_> = formers.map(|former| former.id).collect();
        wanted().filter(|entry| !replaced.contains(&entry.id)).count()
    }
}

impl Entry {
    /// What to ask the server for: with the address it gave last time as preference.
    pub(crate) fn wish(&self, report_requests: bool) -> ClientMessage {
        let mut policies = self.policies.clone();
        for policy in &mut policies {
            if let (Policy::Expire { left_ms }, Some(at)) = (policy, self.expires()) {
                let left = at.saturating_duration_since(Instant::now());
                *left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            }
        }
        ClientMessage::Bind {
            tunnel: self.id,
            spec: self.spec(),
            policies,
            upstream: self.upstream(),
            report_requests,
            replaces: self.former.as_ref().map(|former| former.id),
        }
    }

    fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }

    fn spec(&self) -> BindSpec {
        let mut spec = self.spec.clone();
        let known = self.address().or_else(|| self.former.as_ref()?.address.clone());
        match (&mut spec, known) {
            (BindSpec::Http(HttpSpec { host, .. }), Some(PublicAddress::Http { subdomain, .. }))
            | (BindSpec::Tls(TlsSpec { host, .. }), Some(PublicAddress::Tls { subdomain, .. }))
                if host.is_any() =>
            {
                host.preferred = subdomain;
            }
            (BindSpec::Tcp(ports), Some(PublicAddress::Tcp { port, .. }))
            | (BindSpec::Udp(ports), Some(PublicAddress::Udp { port, .. }))
                if ports.port.is_none() =>
            {
                ports.preferred = Some(port);
            }
            _ => {}
        }
        spec
    }

    /// Where it leads, for people.
    pub(crate) fn upstream(&self) -> String {
        match &self.handler {
            Handler::Forward(target) => target.upstream().to_string(),
            Handler::Datagrams(upstream) => upstream.to_string(),
            Handler::Listen(_, upstream) => upstream.as_ref().map(Upstream::to_string).unwrap_or_default(),
        }
    }

    pub(crate) fn state(&self) -> TunnelState {
        self.state.borrow().clone()
    }

    pub(crate) fn address(&self) -> Option<PublicAddress> {
        self.state.borrow().address().cloned()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<TunnelState> {
        self.state.subscribe()
    }

    /// When its time is over; `None` if it has no end, or none that is known yet.
    pub(crate) fn expires(&self) -> Option<Instant> {
        self.expires.get().copied()
    }

    /// Visitors can come. The first time, its time begins.
    pub(crate) fn online(&self, address: PublicAddress) {
        let lifetime = self.policies.iter().find_map(|policy| match policy {
            Policy::Expire { left_ms } => Some(Duration::from_millis(*left_ms)),
            _ => None,
        });
        if let Some(lifetime) = lifetime {
            self.expires.get_or_init(|| Instant::now() + lifetime);
        }
        self.change(TunnelState::Online(address));
    }

    /// Visitors can't come for now.
    pub(crate) fn away(&self) {
        let state = self.state();
        if let TunnelState::Online(address) = state {
            self.change(TunnelState::Away(address));
        }
    }

    /// Waits until it is over.
    pub(crate) async fn ended(&self) -> TunnelEnd {
        // The sender is `self`'s, so waiting can't fail.
        let _ = self.state.subscribe().wait_for(|state| matches!(state, TunnelState::Ended)).await;
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or(TunnelEnd::Closed)
    }

    fn finish(&self, end: TunnelEnd) {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(end);
        self.state.send_replace(TunnelState::Ended);
    }

    fn change(&self, to: TunnelState) {
        self.state.send_if_modified(|state| {
            let changes = *state != TunnelState::Ended && *state != to;
            if changes {
                *state = to;
            }
            changes
        });
    }
}

/// A tunnel is wanted for as long as this lives.
pub(crate) struct Registration {
    table: Arc<Table>,
    pub(crate) entry: Arc<Entry>,
}

impl Registration {
    /// The tunnel is wanted no longer, and still there for who is under way.
    pub(super) fn withdraw(&self) {
        self.table.retire(&self.entry, TunnelEnd::Closed);
    }

    /// Ends the tunnel when its time is over and no server has said so: the client may be away, or the server not care.
    pub(crate) fn end_when_expired(&self) -> Option<impl Future<Output = ()> + Send + 'static + use<>> {
        let (at, table, id) = (self.entry.expires()? + SERVER_FIRST, self.table.clone(), self.entry.id);
        Some(async move {
            sleep_until(at).await;
            let refusal = Refusal::permanent(Code::Expired, "the time set for it with `--expire` is over");
            table.end(id, TunnelEnd::Refused(refusal));
        })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.table.end(self.entry.id, TunnelEnd::Closed);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("id", &self.id).field("spec", &self.spec).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tunnel_protocol::bind::HostSpec;

    use super::*;

    fn random() -> BindSpec {
        HostSpec::default().into()
    }

    fn forward() -> Handler {
        Handler::Forward(Target::new("3000".parse().unwrap()).unwrap())
    }

    fn address(name: &str) -> PublicAddress {
        PublicAddress::Http {
            url: format!("http://{name}.example"),
            host: format!("{name}.example"),
            subdomain: Some(name.into()),
        }
    }

    #[tokio::test]
    async fn a_registration_is_wanted_while_it_lives() {
        let table = Arc::new(Table::new(1));
        let one = table.add(random(), Vec::new(), forward(), None).unwrap();
        table.changed().await;
        assert!(table.get(one.entry.id).is_some());
        assert!(matches!(table.add(random(), Vec::new(), forward(), None), Err(BindError::TooMany(1))));
        let entry = Arc::clone(&one.entry);
        drop(one);
        table.changed().await;
        assert!(table.get(entry.id).is_none());
        assert!(matches!(entry.ended().await, TunnelEnd::Closed));
        let two = table.add(random(), Vec::new(), forward(), None).unwrap();
        assert_ne!(two.entry.id, entry.id, "ids are not reused");
        table.end_all(None);
        assert!(matches!(two.entry.ended().await, TunnelEnd::Client(None)));
        assert!(matches!(table.add(random(), Vec::new(), forward(), None), Err(BindError::Ended(None))));
    }

    #[test]
    fn all_tunnels_can_be_replaced_at_once_also_where_there_is_no_room_for_another() {
        let table = Arc::new(Table::new(2));
        let add = |former| table.add(random(), Vec::new(), forward(), former);
        let old = [add(None).unwrap(), add(None).unwrap()];
        let former = |of: &Registration| Some(Former { id: of.entry.id, address: None });
        let new = [add(former(&old[0])).unwrap(), add(former(&old[1])).unwrap()];
        assert!(matches!(add(None), Err(BindError::TooMany(2))));
        table.took_over(&new[0].entry);
        drop(new);
        assert!(add(former(&old[1])).is_ok());
        assert!(add(None).is_ok(), "one was taken over by what is gone");
    }

    #[test]
    fn a_random_name_is_asked_for_again_and_a_chosen_one_stays() {
        let table = Arc::new(Table::new(9));
        let one = table.add(random(), Vec::new(), forward(), None).unwrap();
        assert_eq!(one.entry.spec(), random());
        one.entry.online(address("red-fox"));
        one.entry.away();
        assert_eq!(one.entry.spec(), HostSpec::preferred("red-fox").into());
        let chosen: BindSpec = HostSpec::subdomain("mine").into();
        let two = table.add(chosen.clone(), Vec::new(), forward(), None).unwrap();
        two.entry.online(address("mine"));
        assert_eq!(two.entry.spec(), chosen);
    }

    #[tokio::test(start_paused = true)]
    async fn time_runs_from_the_first_time_online_and_through_reconnects() {
        let table = Arc::new(Table::new(9));
        let expire = vec![Policy::Compress, Policy::Expire { left_ms: 60_000 }];
        let one = table.add(random(), expire, forward(), None).unwrap();
        let left = || match one.entry.wish(false) {
            ClientMessage::Bind { policies, .. } => match policies[..] {
                [Policy::Compress, Policy::Expire { left_ms }] => left_ms,
                _ => panic!("{policies:?}"),
            },
            other => panic!("{other:?}"),
        };
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(left(), 60_000, "it was never online");
        one.entry.online(address("red-fox"));
        tokio::time::advance(Duration::from_secs(20)).await;
        one.entry.away();
        assert_eq!(left(), 40_000);
        one.entry.online(address("red-fox"));
        tokio::time::advance(Duration::from_secs(39)).await;
        assert_eq!(left(), 1_000);
        // No server says so, but it is over all the same.
        one.end_when_expired().unwrap().await;
        assert!(
            matches!(one.entry.ended().await, TunnelEnd::Refused(refusal) if refusal.code == Code::Expired)
        );
        assert_eq!(left(), 0);
    }

    #[test]
    fn what_has_ended_stays_so() {
        let table = Arc::new(Table::new(9));
        let one = table.add(random(), Vec::new(), forward(), None).unwrap();
        table.end(one.entry.id, TunnelEnd::Closed);
        one.entry.online(address("x"));
        assert_eq!(one.entry.state(), TunnelState::Ended);
    }
}
