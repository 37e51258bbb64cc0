//! Taking a name: who gets it, who is refused, and with which words.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tracing::debug;
use tunnel_protocol::{Code, Refusal, TokenId, TunnelId, bind::UpstreamProtocol};

use super::{
    Entry, Holder, Member, Name, Phase, Registry, Table,
    lease::{End, Lease},
    pool::{self, Terms},
};
use crate::{
    endpoint::Target, events::Event, http::pool::Pool, policy::Policies, session::Session, tally::Tally,
};

/// How late a heartbeat may be before its session counts as silent when another client of the same token wants its
/// name.
const LATE: Duration = Duration::from_secs(1);

/// When a port that can't be opened now may be tried again: another program, or a moment without descriptors.
const PORT_RETRY_MS: u64 = 2_000;

/// Why a name can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    /// Another client holds it.
    #[error("{0}")]
    Held(String),
    /// Other clients of its owner serve it, and this one doesn't fit in with them.
    #[error("{0}")]
    Mismatch(String),
    /// It was somebody else's until lately.
    #[error("{message}")]
    Quarantined {
        /// For the person.
        message: String,
        /// What is left of the quarantine.
        left: Duration,
    },
    /// The token has as many names as it may.
    #[error("this token may hold {0} names and ports, and does; take some down")]
    TooMany(usize),
    /// The port can't be opened.
    #[error("the server can't open port {port}: {source}")]
    Port {
        /// The port.
        port: u16,
        /// Why not.
        source: io::Error,
    },
}

/// What a session claims, and for which of its tunnels.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) session: Arc<Session>,
    pub(crate) tunnel: TunnelId,
    pub(crate) upstream: Arc<str>,
    pub(crate) protocol: UpstreamProtocol,
    /// Whether it is content to share the name with other clients of its owner.
    pub(crate) pool: bool,
    pub(crate) report_requests: bool,
    /// Whether the name is free at once when this ends.
    pub(crate) is_fleeting: bool,
    /// The session's own tunnel whose place it takes.
    pub(crate) replaces: Option<TunnelId>,
    pub(crate) policies: Arc<Policies>,
    /// How many names its token may have, if fewer than any.
    pub(crate) max_tunnels: Option<u32>,
}

impl ClaimError {
    /// The reason, as it travels.
    pub(crate) fn refusal(&self, name: &Name) -> Refusal {
        let code = if name.port().is_some() { Code::PortTaken } else { Code::NameTaken };
        match self {
            Self::Quarantined { left, .. } => {
                Refusal::passing(code, self.to_string(), u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
            }
            Self::TooMany(_) => Refusal::permanent(Code::LimitReached, self.to_string()),
            Self::Mismatch(_) => Refusal::permanent(Code::PoolMismatch, self.to_string()),
            Self::Port { source, .. } if source.kind() != io::ErrorKind::PermissionDenied => {
                Refusal::passing(code, self.to_string(), PORT_RETRY_MS)
            }
            Self::Held(_) | Self::Port { .. } => Refusal::permanent(code, self.to_string()),
        }
    }
}

impl Claim {
    /// Whether `member` is the tunnel whose place this one takes.
    pub(super) fn is_instead_of(&self, member: &Member) -> bool {
        member.target.session.id == self.session.id && Some(member.target.tunnel) == self.replaces
    }

    /// Whether nobody serves a name any more when this one has taken its tunnel's place.
    fn leaves(&self, entry: &Entry) -> bool {
        if self.replaces.is_none() {
            return false;
        }
        match &entry.phase {
            Phase::Live(members) => members.iter().all(|member| self.is_instead_of(member)),
            Phase::Held { .. } | Phase::Released { .. } => false,
        }
    }

    pub(super) fn terms(&self) -> Terms {
        Terms { pool: self.pool, protocol: self.protocol, policies: self.policies.clone() }
    }
}

impl Registry {
    /// Takes `name` for a session.
    ///
    /// The same token and installation gets it at once, whatever state its former session is in; the same token on
    /// another machine gets it when the former holder is gone or silent, or beside it if both want a pool; anyone
    /// else only when it is free, and of a host every part of it.
    ///
    /// # Errors
    /// [`ClaimError`], with words for the person who asked.
    pub(crate) fn claim(self: &Arc<Self>, name: &Name, claim: &Claim) -> Result<Lease, ClaimError> {
        let mut table = self.lock();
        self.check(&table, name, claim)?;
        let Claim { session, tunnel, .. } = claim;
        let owner = &session.identity;
        let mut terms = claim.terms();
        if let Some(entry) = table.entries.get(name)
            && entry.owner.token == owner.token
            && entry.terms.policies == terms.policies
        {
            // With all that they have counted, and so that nobody who was checked by them is checked again.
            terms.policies = entry.terms.policies.clone();
        }
        let tally = self.tally(&table, name, owner.token);
        let target = Target {
            session: session.clone(),
            tunnel: *tunnel,
            upstream: claim.upstream.clone(),
            protocol: claim.protocol,
            report_requests: claim.report_requests,
            hinted: Default::default(),
            policies: terms.policies.clone(),
            pool: Pool::default(),
            visitors: Default::default(),
            tally: tally.clone(),
            reach: Default::default(),
        };
        let machine = session.machine.as_str().into();
        let holder = Holder { instance: session.instance, machine, since: SystemTime::now() };
        let generation = table.next_generation();
        let member = Member { holder, target: Arc::new(target), generation };
        let endpoint = self.serve_by(&mut table, name, claim, terms, (member, tally))?;
        // In the same step, or another session that renames its tunnels just now would count both names.
        for entry in table.entries.values_mut().filter(|entry| claim.leaves(entry)) {
            entry.is_left = true;
        }
        drop(table);
        let url = endpoint.address.url().to_owned();
        self.shared.events.emit(Event::TunnelBound { session: session.id, url });
        self.shared.events.emit(Event::LeasesChanged);
        Ok(Lease {
            registry: self.clone(),
            name: name.clone(),
            generation,
            endpoint,
            end: End::Lost,
            expires: None,
            is_fleeting: claim.is_fleeting,
        })
    }

    /// Whether nobody holds `name`, or any part of its host, and nobody waits at it: free for a random choice.
    pub(crate) fn is_free(&self, name: &Name) -> bool {
        let table = self.lock();
        match name.host() {
            Some(host) => self.shared.routes.parts(host).is_empty(),
            None => !table.entries.contains_key(name),
        }
    }

    /// The counters of a name: those it has if its owner is the same, or new ones.
    pub(super) fn tally(&self, table: &Table, name: &Name, owner: TokenId) -> Arc<Tally> {
        let entry = table.entries.get(name).filter(|entry| entry.owner.token == owner);
        entry.map_or_else(|| Tally::new(self.shared.accounts.of(owner)), |entry| entry.endpoint.tally.clone())
    }

    fn check(&self, table: &Table, name: &Name, claim: &Claim) -> Result<(), ClaimError> {
        let token = claim.session.identity.token;
        for other in self.of_strangers(table, name, token) {
            self.check_stranger(&other, &table.entries[&other])?;
        }
        let own = table.entries.get(name).filter(|entry| entry.owner.token == token);
        self.check_quota(table, own, claim)?;
        match own {
            None => Ok(()),
            Some(Entry { phase: Phase::Live(members), terms, .. }) => {
                let what = name.describe();
                let is_own = |member: &Member| member.target.session.id == claim.session.id;
                // One client may bring several upstreams to a pool.
                let is_other = |member: &Member| pool::is_beside(member, terms, claim);
                let is_double = |member: &Member| !claim.is_instead_of(member) && !is_other(member);
                if members.iter().any(|member| is_own(member) && is_double(member)) {
                    return Err(ClaimError::Held(format!("{what} is already published by this very client")));
                }
                let alive_within = self.shared.config().timeouts.heartbeat + LATE;
                let others = members.iter().filter(|member| {
                    !pool::is_former_self(member, terms, claim)
                        && !claim.is_instead_of(member)
                        && member.target.session.silent_for() <= alive_within
                });
                let (own, foreign): (Vec<_>, Vec<_>) = others.partition(|member| is_own(member));
                let Some(other) = foreign.iter().chain(&own).next() else { return Ok(()) };
                if claim.pool || terms.pool {
                    let fits = pool::check(&what, terms, &claim.terms(), &other.holder);
                    return match fits {
                        // Its own client can see to that.
                        Err(ClaimError::Mismatch(why)) if foreign.is_empty() => Err(ClaimError::Held(why)),
                        fits => fits,
                    };
                }
                Err(ClaimError::Held(format!(
                    "{what} is in use by your client on `{}` ({}), online for {}; stop it there, choose another name, \
                     or give both `--pool` to share it",
                    other.holder.machine,
                    other.target.session.address.ip(),
                    ago(other.holder.since)
                )))
            }
            Some(_waiting_for_its_owner) => Ok(()),
        }
    }

    /// The names that only their owner could share with `name`, and that another token has: itself, and of a host
    /// each of its parts.
    pub(super) fn of_strangers(&self, table: &Table, name: &Name, token: TokenId) -> Vec<Name> {
        let related = match name {
            Name::Host(host, _) => {
                let parts = self.shared.routes.parts(host).into_iter();
                parts.map(|part| Name::Host(host.clone(), part)).collect()
            }
            Name::Tcp(_) | Name::Udp(_) => vec![name.clone()],
        };
        let is_strangers =
            |name: &Name| table.entries.get(name).is_some_and(|entry| entry.owner.token != token);
        related.into_iter().filter(is_strangers).collect()
    }

    /// Whether a name that somebody else had is free by now.
    fn check_stranger(&self, name: &Name, entry: &Entry) -> Result<(), ClaimError> {
        let now = Instant::now();
        let what = name.describe();
        // Whose it is, and since when, is the server's business: tokens may belong to people who don't know each other.
        debug!(%what, owner = %entry.owner.name, "wanted by another token");
        match &entry.phase {
            Phase::Live(_) => {
                Err(ClaimError::Held(format!("{what} is held by another token; choose another name")))
            }
            Phase::Held { until, .. } => Err(ClaimError::Held(format!(
                "{what} is held by another token, whose client was lost; it is kept for its return for another {} s",
                until.saturating_duration_since(now).as_secs()
            ))),
            Phase::Released { until, quarantined_until, .. } => {
                // As long as visitors wait for the owner, nobody else can step in: a restart of the owner's client
                // must not be a race.
                let left = quarantined_until.max(until).saturating_duration_since(now);
                if left.is_zero() && entry.port.is_none() {
                    return Ok(());
                }
                let left = left.max(Duration::from_secs(1));
                let message = format!(
                    "{what} was released by another token just now and is free in {} s",
                    left.as_secs().max(1)
                );
                Err(ClaimError::Quarantined { message, left })
            }
        }
    }

    /// Whether a token may have one more name, or still this one of its `own`. Those that are held or in quarantine
    /// count, or a token could use names up by taking and leaving them. But names that it left for others count apart,
    /// up to as many again: one that has all it may can rename all of them at once.
    fn check_quota(&self, table: &Table, own: Option<&Entry>, claim: &Claim) -> Result<(), ClaimError> {
        let limit = self.shared.config().limits.tunnels_per_token;
        let limit = claim.max_tunnels.map_or(limit, |max| limit.min(max as usize));
        let has = match own.filter(|entry| !entry.is_moved()) {
            Some(entry) => table.older(entry),
            None => {
                let token = claim.session.identity.token;
                let others = table.entries.values().filter(|entry| entry.owner.token == token);
                let others = others.filter(|entry| own.is_none_or(|own| own.opened != entry.opened));
                let (moved, kept): (Vec<_>, Vec<_>) =
                    others.partition(|entry| entry.is_moved() || claim.leaves(entry));
                kept.len() + moved.len().saturating_sub(limit)
            }
        };
        if has < limit { Ok(()) } else { Err(ClaimError::TooMany(limit)) }
    }
}

/// How long ago, coarsely, for people.
fn ago(since: SystemTime) -> String {
    let seconds = since.elapsed().unwrap_or_default().as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}
