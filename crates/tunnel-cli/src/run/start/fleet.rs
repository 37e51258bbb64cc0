//! The tunnels of one client: which are wanted, which there are, and what was told of them.

mod turns;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    task::{AbortHandle, JoinSet},
    time::sleep,
};
use tunnel_client::{BindError, Client, Code, Event, Tunnel, TunnelEnd, TunnelId};

use self::turns::{Waiting, is_taken};
use super::{
    super::{
        Failure,
        client::{bind, given_name, open_name, subject},
        leaving::Leaving,
    },
    Plans,
};
use crate::{
    output::{self, At, Console, Reloaded, chain, missed, tunnel_of},
    resolve::client::{SessionPlan, TunnelPlan},
    state::names::Name,
};

/// Events of tunnels that are still being asked for, kept until it is known which those are.
const UNCLAIMED: usize = 256;

/// Tunnels that the last line names when they failed; the others are counted, and each was told before.
const FAILURES_NAMED: usize = 10;

/// All tunnels of a client.
pub(super) struct Fleet {
    client: Arc<Client>,
    session: SessionPlan,
    members: BTreeMap<String, Member>,
    binding: JoinSet<Asked>,
    ending: JoinSet<(TunnelId, TunnelEnd)>,
    /// Tunnels that are no longer published, kept for visitors under way.
    retired: JoinSet<()>,
    unclaimed: VecDeque<(TunnelId, Event)>,
    /// How many names were left so far.
    departures: u64,
    story: output::Fleet,
    console: Console,
    started: Instant,
    /// Whether a tunnel wasn't had since the client has ended, which is heard of in its turn.
    is_client_over: bool,
}

/// One tunnel, by its name in the file.
#[derive(Default)]
struct Member {
    /// As it is published.
    now: Option<(TunnelPlan, Arc<Tunnel>)>,
    /// As it was asked for last, until there is an answer.
    asked: Option<(TunnelPlan, AbortHandle)>,
    /// As it is to be asked for when that answer is there.
    next: Option<TunnelPlan>,
    /// As it was asked for, if another tunnel is to leave its name first.
    waits: Option<Waiting>,
    /// The memory of its name, if the server chose that.
    name: Option<Name>,
    /// Whether it couldn't be had, or not as it is wanted now.
    has_failed: bool,
}

/// The answer for a tunnel.
struct Asked {
    member: String,
    plan: TunnelPlan,
    name: Option<Name>,
    /// How many names had been left when it was asked for.
    departures: u64,
    bound: Result<Tunnel, BindError>,
}

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// Something was told.
    Told,
    /// There is no tunnel left, and none to come.
    AllOver,
}

impl Fleet {
    pub(super) fn new(client: Arc<Client>, session: SessionPlan, console: Console) -> Self {
        let form = session.output;
        let story = output::Fleet::new(form, session.verbose);
        let console = console.in_background(move |lost| missed(form, lost));
        Self {
            client,
            session,
            members: BTreeMap::new(),
            binding: JoinSet::new(),
            ending: JoinSet::new(),
            retired: JoinSet::new(),
            unclaimed: VecDeque::new(),
            departures: 0,
            story,
            console,
            started: Instant::now(),
            is_client_over: false,
        }
    }

    /// Wants these tunnels and no others: asks for what is new, or new about them, and for what was refused before.
    pub(super) fn want(&mut self, plans: Plans) -> Reloaded {
        let mut reloaded = Reloaded::default();
        let gone = self.members.extract_if(.., |name, _| !plans.contains_key(name)).collect::<Vec<_>>();
        for (name, member) in gone {
            member.asked.iter().for_each(|(_, asking)| asking.abort());
            if let Some((_, tunnel)) = member.now {
                self.retire(tunnel);
            }
            reloaded.removed.push(name);
        }
        for (name, plan) in plans {
            let is_new = !self.members.contains_key(&name);
            let member = self.members.entry(name.clone()).or_default();
            let asked = member.next.as_ref().or(member.asked.as_ref().map(|(plan, _)| plan));
            let asked = asked.or(member.waits.as_ref().map(|waiting| &waiting.plan));
            if asked.or(member.now.as_ref().map(|(plan, _)| plan)) == Some(&plan) && !member.has_failed {
                continue;
            }
            if is_new {
                reloaded.added.push(name.clone());
            } else {
                reloaded.changed.push(name.clone());
            }
            self.ask(&name, plan);
        }
        self.take_turns();
        reloaded
    }

    fn ask(&mut self, name: &str, plan: TunnelPlan) {
        let Some(member) = self.members.get_mut(name) else { return };
        if member.asked.is_some() && member.now.is_some() {
            // The server may have put it in the place of the former already: it must not be called off half-way.
            member.next = Some(plan);
            return;
        }
        if let Some((_, asking)) = member.asked.take() {
            asking.abort();
        }
        (member.has_failed, member.waits) = (false, None);
        let replaced = member.now.as_ref().map(|(_, tunnel)| tunnel.clone());
        // The memory of a name is one process's, and one tunnel's in it.
        let memory = match member.now.as_ref().filter(|(now, _)| now.upstream == plan.upstream) {
            Some(_) => member.name.take(),
            None => open_name(&self.session, &plan, self.console),
        };
        let former = memory.as_ref().and_then(Name::former).map(str::to_owned);
        let (client, wanted, member_name) = (self.client.clone(), plan.clone(), name.to_owned());
        let departures = self.departures;
        let asking = self.binding.spawn(async move {
            let bound = bind(&client, &wanted, former, replaced.as_deref()).await;
            Asked { member: member_name, plan: wanted, name: memory, departures, bound }
        });
        member.asked = Some((plan, asking));
    }

    /// Takes a tunnel down; who is under way may finish.
    fn retire(&mut self, tunnel: Arc<Tunnel>) {
        self.departures += 1;
        tunnel.withdraw();
        let grace = self.session.grace;
        self.retired.spawn(async move {
            sleep(grace).await;
            drop(tunnel);
        });
    }

    /// Waits for an answer, or for the end of a tunnel.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Happening {
        tokio::select! {
            biased;
            Some(asked) = self.binding.join_next() => {
                // One that was called off is no answer.
                if let Ok(asked) = asked {
                    self.answered(asked);
                }
            }
            Some(Ok((tunnel, end))) = self.ending.join_next() => self.ended(tunnel, &end),
            Some(_) = self.retired.join_next() => {}
            else => std::future::pending().await,
        }
        self.take_turns();
        let is_over =
            |member: &Member| member.now.is_none() && member.asked.is_none() && member.waits.is_none();
        if !self.members.is_empty() && self.members.values().all(is_over) && !self.is_client_over {
            return Happening::AllOver;
        }
        Happening::Told
    }

    fn answered(&mut self, asked: Asked) {
        let Asked { member: name, plan, name: memory, departures, bound } = asked;
        let Some(member) = self.members.get_mut(&name) else { return };
        if member.asked.as_ref().is_none_or(|(asked, _)| *asked != plan) {
            return;
        }
        member.asked = None;
        member.name = memory;
        match bound {
            Ok(tunnel) => {
                // Whatever became of the former meanwhile, and of what was asked for before.
                member.has_failed = false;
                let tunnel = Arc::new(tunnel);
                let (id, closed) = (tunnel.id(), tunnel.closed());
                self.ending.spawn(async move { (id, closed.await) });
                self.story.begin(&name, subject(&plan, self.session.verbose));
                if let Some((_, former)) = member.now.replace((plan, tunnel)) {
                    self.retire(former);
                }
                self.remember(&name);
                let (claimed, others) = self.unclaimed.drain(..).partition(|(of, _)| *of == id);
                self.unclaimed = others;
                let claimed: VecDeque<(TunnelId, Event)> = claimed;
                claimed.into_iter().for_each(|(_, event)| self.tell(event));
            }
            // The client's own end says more.
            Err(BindError::Ended(_)) => self.is_client_over = true,
            Err(refusal) if is_taken(&refusal) && self.may_have_a_turn(&name, &plan, departures) => {
                let waiting = Waiting { plan, refusal, departures };
                self.members.entry(name.clone()).and_modify(|member| member.waits = Some(waiting));
            }
            Err(error) => self.refused(&name, error),
        }
        if let Some(next) = self.members.get_mut(&name).and_then(|member| member.next.take()) {
            self.ask(&name, next);
        }
    }

    /// A tunnel can't be had as it is wanted.
    fn refused(&mut self, name: &str, error: BindError) {
        let Some(member) = self.members.get_mut(name) else { return };
        member.has_failed = true;
        let stays = if member.now.is_some() { "; it stays as it was" } else { "" };
        let failure = Failure::Bind(error);
        let reason = format!("{}{stays}", failure.line());
        let at = self.now();
        let line = self.story.refused(name, &reason, failure.refusal(), at);
        self.console.line(&line);
    }

    fn ended(&mut self, id: TunnelId, end: &TunnelEnd) {
        let is_it = |member: &Member| member.now.as_ref().is_some_and(|(_, tunnel)| tunnel.id() == id);
        let Some((_, member)) = self.members.iter_mut().find(|(_, member)| is_it(member)) else { return };
        match end {
            // The client's own end says more.
            TunnelEnd::Client(_) | TunnelEnd::Replaced => {}
            end => {
                let is_expired = matches!(end, TunnelEnd::Refused(refusal) if refusal.code == Code::Expired);
                member.has_failed |= !is_expired;
                let tunnel = member.now.take();
                // Visitors who were there before are still this one's.
                tunnel.into_iter().for_each(|(_, tunnel)| self.retire(tunnel));
            }
        }
    }

    /// Tells what happened.
    pub(super) fn tell(&mut self, event: Event) {
        let at = self.now();
        let lines = match tunnel_of(&event) {
            None => self.story.tell(&event, at),
            Some(id) => match self.name_of(id) {
                Some(name) => {
                    if matches!(event, Event::Online { .. }) {
                        self.remember(&name);
                    }
                    self.story.tell_of(&name, &event, at)
                }
                None => {
                    if self.unclaimed.len() == UNCLAIMED {
                        self.unclaimed.pop_front();
                    }
                    if !self.binding.is_empty() {
                        self.unclaimed.push_back((id, event));
                    }
                    return;
                }
            },
        };
        lines.iter().for_each(|line| self.console.line(line));
    }

    pub(super) fn tell_reloaded(&mut self, reloaded: &Reloaded) {
        let line = self.story.reloaded(reloaded, self.now());
        self.console.line(&line);
    }

    pub(super) fn tell_end(&mut self, end: &Result<(), Failure>) {
        // The last line finds room.
        self.console.flush();
        let ending = end.as_ref().err().map(Failure::ending);
        let lines = self.story.end(self.now(), ending.as_ref());
        lines.iter().for_each(|line| self.console.line(line));
        self.console.finish();
    }

    /// Has how long visitors may take changed.
    pub(super) fn set_grace(&mut self, grace: Duration) {
        self.session.grace = grace;
    }

    /// Leaves in order, as was asked for by a signal.
    pub(super) fn leave(&self) -> Leaving<'static> {
        Leaving::begin(self.client.clone(), self.session.grace)
    }

    /// Tells who is waited for.
    pub(super) fn tell_leaving(&self) {
        let lines = self.story.leaving(self.client.status().visitors, self.session.grace);
        lines.iter().for_each(|line| self.console.line(line));
    }

    /// Tells who was cut off.
    pub(super) fn tell_left(&self, cut: usize) {
        self.story.left(cut).iter().for_each(|line| self.console.line(line));
    }

    /// How it ends if nothing else is to be said: whether all were had as they were wanted.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if self.members.values().any(|member| member.has_failed) { Err(self.failure()) } else { Ok(()) }
    }

    /// The tunnels that couldn't be had.
    pub(super) fn failure(&self) -> Failure {
        let failed = self.members.iter().filter(|(_, member)| member.has_failed);
        let failed: Vec<_> = failed.map(|(name, _)| name.as_str()).collect();
        let (named, others) = failed.split_at(failed.len().min(FAILURES_NAMED));
        let mut reason =
            format!("{} of {} tunnels failed: {}", failed.len(), self.members.len(), named.join(", "));
        if !others.is_empty() {
            reason.push_str(&format!(" and {} more", others.len()));
        }
        Failure::Tunnels { reason }
    }

    fn remember(&mut self, name: &str) {
        let Some(member) = self.members.get_mut(name) else { return };
        if let (Some(memory), Some((_, tunnel))) = (&mut member.name, &member.now)
            && let Some(given) = tunnel.address().as_ref().and_then(given_name)
            && let Err(error) = memory.remember(&given)
        {
            self.console.warning(&chain(&error));
        }
    }

    fn name_of(&self, id: TunnelId) -> Option<String> {
        let is_it = |member: &Member| member.now.as_ref().is_some_and(|(_, tunnel)| tunnel.id() == id);
        self.members.iter().find(|(_, member)| is_it(member)).map(|(name, _)| name.clone())
    }

    fn now(&self) -> At {
        At { since: self.started.elapsed(), wall: SystemTime::now() }
    }
}

#[cfg(test)]
mod tests;
