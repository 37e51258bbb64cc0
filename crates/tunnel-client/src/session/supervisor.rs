//! Keeps the client online: one actor that makes sessions, gives them the client's tunnels, and replaces them.
//!
//! ```text
//!            ┌──────────────── lost: at once, then with backoff ───────────────┐
//!            ▼                                                                 │
//!        attempt ── refused for good ──► end           ┌── GoAway ──► leaving ─┤ its visitors are gone
//!            │                                         │     (a new attempt    ▼
//!            └── welcome ──► current: bind all tunnels ┴──    begins at once)  ∎
//! ```
//! It waits for nothing but messages and clocks, so nothing a server does, or leaves undone, can stop it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tracing::{Instrument, debug, info, info_span, warn};
use tunnel_protocol::{Code, Refusal, ServerMessage, Welcome};

use super::{
    Handle, Key, Leave, Report, Reporter, SessionEnd,
    backoff::Backoff,
    binds::{Binds, SETTLE},
    channels,
    clock::TICK,
    login::{Established, log_in},
    moved::{Change, WayWatch},
    sleep::SleepWatch,
};
use crate::{
    ClientError, Event, LoginError, Phase,
    shared::{Order, Shared, State, random},
    status::SessionStatus,
    text,
};

/// A session that lasted this long was a success: the next attempt after it doesn't wait.
const STABLE: Duration = Duration::from_secs(5);
/// Sessions being left at once, at most: a server that sends a client away again and again.
const MAX_LEAVING: usize = 8;
/// How long the next try waits at most after a session was lost while the one before it lives.
const STILL_THERE: Duration = Duration::from_millis(50);
/// Reports that wait for the supervisor; a session with more waits too.
const REPORTS: usize = 64;
/// When to try again what found a full queue.
const SOON: Duration = Duration::from_millis(100);
/// How long after a move the next one is heeded: an attempt is over by then (see `DIAL_TIMEOUT`). Between two ways that
/// alternate none would come to its end otherwise, nor would there be a pause between them.
const MOVES_APART: Duration = Duration::from_secs(10);
/// An attempt that failed for good, though the client was online before, is repeated at the slowest pace.
const SLOWEST: u32 = 8;

/// Runs until the client ends, and tells everybody.
pub(crate) async fn run(shared: Arc<Shared>) {
    // Whatever ends this future, also a panic or an abort, the tunnels' owners hear of it.
    let _last_words = LastWords(Arc::clone(&shared));
    let mut supervisor = Supervisor::new(Arc::clone(&shared));
    let end = supervisor.run().await;
    drop(supervisor);
    finish(&shared, end);
}

struct Supervisor {
    shared: Arc<Shared>,
    /// At most one.
    attempts: JoinSet<Result<Established, LoginError>>,
    sessions: JoinSet<(Key, SessionEnd)>,
    reports: mpsc::Receiver<(Key, Report)>,
    reporter: mpsc::Sender<(Key, Report)>,
    next_key: Key,
    current: Option<Live>,
    leaving: Vec<Live>,
    backoff: Backoff,
    /// When the next attempt may begin.
    attempt_at: Instant,
    /// Since when there has been no session that lasted.
    unstable_since: Instant,
    sleep: SleepWatch,
    /// While there is no session.
    way: WayWatch,
    /// Whether it moved since that was last heeded.
    has_moved: bool,
    /// When that was.
    moved_at: Option<Instant>,
    /// From the last welcome: how long names are held.
    held: Option<Duration>,
    draining: Option<Instant>,
    last_failure: String,
    order: watch::Receiver<Order>,
}

/// A running session; dropping it ends it at once.
struct Live {
    key: Key,
    handle: Handle,
    task: AbortHandle,
    welcome: Welcome,
    clock_ahead_ms: Option<i64>,
    binds: Binds,
    lanes: u32,
    since: Instant,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Supervisor {
    fn new(shared: Arc<Shared>) -> Self {
        let (reporter, reports) = mpsc::channel(REPORTS);
        let start = Instant::now();
        Self {
            order: shared.order.subscribe(),
            shared,
            attempts: JoinSet::new(),
            sessions: JoinSet::new(),
            reports,
            reporter,
            next_key: 0,
            current: None,
            leaving: Vec::new(),
            backoff: Backoff::default(),
            attempt_at: start,
            unstable_since: start,
            sleep: SleepWatch::new(start),
            way: WayWatch::default(),
            has_moved: false,
            moved_at: None,
            held: None,
            draining: None,
            last_failure: String::new(),
        }
    }

    /// The loop: first make things as they should be, then wait for the next change.
    async fn run(&mut self) -> Result<(), ClientError> {
        loop {
            self.wake_up();
            let wake = self.reconcile(Instant::now());
            self.publish();
            if self.draining.is_some_and(|by| self.is_empty() || by <= Instant::now()) {
                return Ok(());
            }
            tokio::select! {
                Ok(()) = self.order.changed() => {
                    let order = *self.order.borrow_and_update();
                    match order {
                        Order::Run => {}
                        Order::Drain(by) => self.drain(by),
                        Order::Close => return Ok(()),
                    }
                }
                () = self.shared.table.changed() => {}
                Some(attempt) = self.attempts.join_next() => match attempt {
                    Ok(Ok(established)) => self.welcomed(established),
                    Ok(Err(error)) => self.failed(error)?,
                    // Aborted by a drain, or a bug in a dialer.
                    Err(died) => self.retry(died.to_string(), None, Duration::MAX),
                },
                Some(ended) = self.sessions.join_next() => {
                    // Its last words first: they may say why it ended, and when to come back.
                    while let Ok((key, report)) = self.reports.try_recv() {
                        self.hear(key, report)?;
                    }
                    match ended {
                        Ok((key, end)) => self.ended(key, end),
                        Err(died) => self.bury(&died),
                    }
                }
                Some((key, report)) = self.reports.recv() => self.hear(key, report)?,
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Begins what is due. Returns when something will be due next.
    fn reconcile(&mut self, now: Instant) -> Instant {
        let mut wake = now + Duration::from_secs(3600);
        if let Some(by) = self.draining {
            return wake.min(by);
        }
        match &mut self.current {
            None if !self.attempts.is_empty() => wake = now + TICK,
            None if self.attempt_at <= now => {
                let shared = Arc::clone(&self.shared);
                self.attempts.spawn(async move { log_in(&shared.settings, None).await });
                wake = now + TICK;
            }
            None => wake = self.attempt_at.min(now + TICK),
            Some(live) => {
                let outbox = &live.handle.outbox;
                let synced = live.binds.sync(&self.shared, now, |message| outbox.try_send(message).is_ok());
                if !synced {
                    wake = now + SOON;
                }
                wake = live.binds.wake_at().map_or(wake, |at| wake.min(at));
                // The new session serves all visitors that the old one would: only now is it left.
                let settled_by = live.since + SETTLE;
                if live.binds.settled() || settled_by <= now {
                    let by = now + self.shared.settings.timeouts.leave;
                    self.leaving.iter().for_each(|old| old.leave(Leave { by, is_replaced: true }));
                } else if !self.leaving.is_empty() {
                    wake = wake.min(settled_by);
                }
            }
        }
        wake
    }

    /// If this machine slept while it was offline, or is in another network now: what it waits for is over, or may never
    /// come.
    fn wake_up(&mut self) {
        let is_offline = self.current.is_none();
        let slept = self.sleep.slept(is_offline);
        let moved = self.moved(is_offline);
        if (slept || moved) && self.draining.is_none() {
            debug!(slept, moved, "this machine was asleep, or is in another network");
            self.attempts = JoinSet::new();
            self.backoff.reset();
            self.attempt_at = Instant::now();
        }
    }

    /// Whether this machine has moved, and it is time to heed that.
    fn moved(&mut self, is_offline: bool) -> bool {
        if !is_offline {
            // A session notices by itself. What was before it says nothing of what comes after it.
            (self.way, self.has_moved) = (WayWatch::default(), false);
            return false;
        }
        self.has_moved |= self.way.look(self.shared.settings.dialer.way()) != Change::Nothing;
        let moved = self.has_moved && self.moved_at.is_none_or(|at| at.elapsed() >= MOVES_APART);
        if moved {
            self.has_moved = false;
            self.moved_at = Some(Instant::now());
        }
        moved
    }

    fn outage(&self) -> Duration {
        self.unstable_since.elapsed()
    }

    /// A login succeeded.
    fn welcomed(&mut self, established: Established) {
        if self.draining.is_some() {
            // It came in just before the drain would have called it off: nobody is to use it.
            return;
        }
        let (welcome, clock_ahead_ms) = (established.welcome.clone(), established.clock_ahead_ms);
        info!(session = %welcome.session, server = %welcome.agent, account = %welcome.account, "connected");
        let key = self.next_key;
        self.next_key += 1;
        let (handle, ends) = channels();
        let shared = Arc::clone(&self.shared);
        let reporter = Reporter { key, reports: self.reporter.clone() };
        let span = info_span!("session", id = %welcome.session);
        let session = async move { (key, super::run(shared, established, ends, reporter).await) };
        let task = self.sessions.spawn(session.instrument(span));
        self.held = Some(Duration::from_secs(welcome.hold_s));
        self.last_failure.clear();
        self.shared.emit(Event::Connected {
            session: welcome.session,
            server: welcome.agent.clone(),
            account: welcome.account.clone(),
        });
        self.current = Some(Live {
            key,
            handle,
            task,
            welcome,
            clock_ahead_ms,
            binds: Binds::default(),
            lanes: 1,
            since: Instant::now(),
        });
    }

    /// A login failed.
    fn failed(&mut self, error: LoginError) -> Result<(), ClientError> {
        let was_online = self.held.is_some();
        let hopeless =
            error.is_final() || (!was_online && (error.is_permanent() || self.shared.settings.fail_fast));
        if hopeless {
            return Err(Arc::new(error).into());
        }
        if error.is_permanent() {
            // A captive portal or a wrong DNS answer looks like this too, and passes.
            self.backoff.at_least(SLOWEST);
        }
        self.retry(chain(&error), error.retry_after(), Duration::MAX);
        Ok(())
    }

    /// Puts the next attempt off, for no longer than `at_most`, and says so.
    fn retry(&mut self, reason: String, retry_after: Option<Duration>, at_most: Duration) {
        if self.draining.is_some() {
            return;
        }
        let reason = text::printable(reason);
        let retry_in = self.backoff.next(self.outage(), random(), retry_after).min(at_most);
        self.attempt_at = Instant::now() + retry_in;
        warn!(%reason, ?retry_in, "not connected");
        self.last_failure.clone_from(&reason);
        self.shared.emit(Event::Reconnecting { reason, retry_in, held: self.held });
    }

    /// A session is over.
    fn ended(&mut self, key: Key, end: SessionEnd) {
        self.leaving.retain(|live| live.key != key);
        let lost = self.current.take_if(|live| live.key == key);
        if self.current.is_none() && self.leaving.is_empty() {
            self.shared.table.all().iter().for_each(|entry| entry.away());
        }
        if let Some(live) = lost {
            self.forgive(&live);
            let reason = match end {
                SessionEnd::Left => "the session was left".into(),
                SessionEnd::Lost(reason) => reason,
            };
            // If another one lives the server is there: what is gone is a successor that died as it took over.
            let at_most = if self.leaving.is_empty() { Duration::MAX } else { STILL_THERE };
            self.retry(reason, None, at_most);
        }
    }

    /// A session's task died without a word: aborted by us, or by a panic.
    fn bury(&mut self, died: &JoinError) {
        let dead = self.current.iter().chain(&self.leaving).find(|live| live.task.id() == died.id());
        if let Some(key) = dead.map(|live| live.key) {
            self.ended(key, SessionEnd::Lost("the session's task died; this is a bug in the client".into()));
        }
    }

    /// A session said something.
    fn hear(&mut self, key: Key, report: Report) -> Result<(), ClientError> {
        // A session that is being left has nothing to say on tunnels: the new one has them, or will.
        let Some(live) = self.current.as_mut().filter(|live| live.key == key) else { return Ok(()) };
        match report {
            Report::Lanes(lanes) => live.lanes = lanes,
            Report::Message(ServerMessage::GoAway { refusal }) => return self.sent_away(refusal),
            Report::Message(message) => live.binds.hear(&self.shared, Instant::now(), message),
        }
        Ok(())
    }

    /// The server wants the client to leave: another session first, then this one ends when its visitors are gone.
    fn sent_away(&mut self, refusal: Refusal) -> Result<(), ClientError> {
        if self.draining.is_some() {
            return Ok(());
        }
        // A server that is restarting always wants its clients back.
        let comes_back = refusal.is_passing() || matches!(refusal.code, Code::Draining | Code::ServerBusy);
        if !comes_back {
            return Err(ClientError::SentAway(refusal));
        }
        let Some(live) = self.current.take() else { return Ok(()) };
        self.forgive(&live);
        if self.leaving.len() >= MAX_LEAVING {
            self.leaving.remove(0);
        }
        self.leaving.push(live);
        // All clients hear this at the same moment.
        self.backoff.at_least(1);
        let wait =
            self.backoff.next(Duration::ZERO, random(), refusal.retry_after_ms.map(Duration::from_millis));
        self.attempt_at = Instant::now() + wait;
        info!(%refusal, ?wait, "the server is going away");
        self.shared.emit(Event::Moving { refusal });
        Ok(())
    }

    /// Lets no more visitors in; the end comes when those inside have left, or then.
    fn drain(&mut self, by: Instant) {
        self.attempts.abort_all();
        for live in self.current.iter().chain(&self.leaving) {
            live.leave(Leave { by, is_replaced: false });
        }
        if self.draining.replace(by).is_none() {
            self.shared.emit(Event::Draining);
        }
    }

    fn is_empty(&self) -> bool {
        self.current.is_none() && self.leaving.is_empty()
    }

    /// Only a session that lasted makes up for failures: otherwise one that is made and lost at once would be
    /// remade without pause.
    fn forgive(&mut self, live: &Live) {
        if live.since.elapsed() >= STABLE {
            self.backoff.reset();
            self.unstable_since = Instant::now();
        }
    }

    fn publish(&self) {
        let phase = match (self.is_empty(), self.draining, self.held) {
            (_, Some(_), _) => Phase::Draining,
            // A session that is being left serves visitors until the next one does.
            (false, ..) => Phase::Online,
            (true, None, None) => Phase::Connecting,
            (true, None, Some(_)) => Phase::Reconnecting,
        };
        let session = self.current.as_ref().or(self.leaving.last()).map(|live| SessionStatus {
            id: live.welcome.session,
            server: live.welcome.agent.clone(),
            account: live.welcome.account.clone(),
            lanes: live.lanes,
            version: live.welcome.version.0,
            clock_ahead_ms: live.clock_ahead_ms,
        });
        let state = State { phase, session, last_failure: self.last_failure.clone() };
        self.shared.state.send_if_modified(|before| {
            let changed = *before != state;
            *before = state;
            changed
        });
    }
}

impl Live {
    /// The first order stands. Only one to leave for good overrides one to move to another session.
    fn leave(&self, order: Leave) {
        self.handle.leave.send_if_modified(|given| {
            let counts = given.is_none_or(|given| given.is_replaced && !order.is_replaced);
            if counts {
                *given = Some(order);
            }
            counts
        });
    }
}

/// An error with what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Tells the tunnels' owners, and whoever waits for the client, that it is over. Only the first end counts.
fn finish(shared: &Shared, end: Result<(), ClientError>) {
    if shared.end.borrow().is_some() {
        return;
    }
    debug!(?end, "client ended");
    shared.table.end_all(end.as_ref().err());
    shared.state.send_replace(State { phase: Phase::Ended, ..State::default() });
    // Last: whoever waits for the end looks at the tunnels and the status next.
    shared.end.send_replace(Some(end));
}

struct LastWords(Arc<Shared>);

impl Drop for LastWords {
    fn drop(&mut self) {
        finish(&self.0, Err(ClientError::Dropped));
    }
}
