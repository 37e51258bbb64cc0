//! One authenticated client on the server: its lanes, and the ways to speak to it.
//!
//! A session is shared by the tasks that drive it (`control`), by the endpoints it serves and by the snapshot. It
//! ends once, for a reason; whoever holds it afterwards finds no lanes and gets errors at once.

mod lanes;
mod pulse;

mod demand;
mod keeper;

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, SystemTime},
};

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tunnel_mux::{Activity, OpenError, Opener, Reservation};
use tunnel_protocol::{Code, InstanceId, Refusal, Secret, ServerMessage, SessionId};

pub(crate) use self::keeper::keep as keep_lanes;
use self::{
    lanes::Lanes,
    pulse::{Path, Pulse},
};
use crate::auth::Identity;

/// One authenticated client.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) identity: Identity,
    pub(crate) instance: InstanceId,
    pub(crate) machine: String,
    pub(crate) agent: String,
    pub(crate) address: SocketAddr,
    /// Whether the client understands twins.
    twins: bool,
    /// How many pairs there have been.
    pairs: AtomicU64,
    pub(crate) started: SystemTime,
    /// What further lanes must show.
    pub(crate) resume: Secret<32>,
    /// Cancelled when the session is to end or has ended.
    pub(crate) ended: CancellationToken,
    reason: Mutex<Option<String>>,
    lanes: Lanes,
    lanes_changed: Notify,
    max_lanes: u32,
    wanted_lanes: AtomicU32,
    next_lane: AtomicU32,
    /// Whether nobody looks at the lanes, because there is nothing to see.
    asleep: AtomicBool,
    used: Notify,
    messages: mpsc::Sender<ServerMessage>,
    dropped_reports: AtomicU64,
    pulse: Pulse,
    /// Cancelled when the client said that it is about to leave.
    leaving: CancellationToken,
    /// How many visitors the client has refused because it was full: for each an idle stream gives way.
    pub(crate) crowded: watch::Sender<u64>,
    /// Whether the client was sent to a successor.
    sent_on: AtomicBool,
}

/// Why no stream could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenStreamError {
    /// All lanes are full and the client may not or does not add one.
    Full,
    /// The session is over.
    Ended,
}

/// A lane's place in its session: dropping it takes the lane out.
#[derive(Debug)]
pub(crate) struct LaneGuard {
    session: Arc<Session>,
    number: u32,
}

/// What is known of a client at its login.
#[derive(Debug)]
pub(crate) struct Who {
    pub(crate) identity: Identity,
    pub(crate) instance: InstanceId,
    pub(crate) machine: String,
    pub(crate) agent: String,
    pub(crate) address: SocketAddr,
    /// Whether it understands twins.
    pub(crate) twins: bool,
}

impl Session {
    /// A session with no lanes yet, and the queue of messages for its client.
    pub(crate) fn new(
        id: SessionId,
        resume: Secret<32>,
        who: Who,
        max_lanes: u32,
        ended: CancellationToken,
    ) -> (Arc<Self>, mpsc::Receiver<ServerMessage>) {
        let (messages, outbox) = mpsc::channel(OUTBOX);
        let Who { identity, instance, machine, agent, address, twins } = who;
        let session = Self {
            id,
            identity,
            instance,
            machine,
            agent,
            address,
            twins,
            pairs: AtomicU64::new(0),
            started: SystemTime::now(),
            resume,
            ended,
            reason: Mutex::default(),
            lanes: Lanes::default(),
            lanes_changed: Notify::new(),
            max_lanes,
            wanted_lanes: AtomicU32::new(1),
            next_lane: AtomicU32::new(0),
            asleep: AtomicBool::new(false),
            used: Notify::new(),
            messages,
            dropped_reports: AtomicU64::new(0),
            pulse: Pulse::new(),
            leaving: CancellationToken::new(),
            crowded: watch::Sender::new(0),
            sent_on: AtomicBool::new(false),
        };
        (Arc::new(session), outbox)
    }

    /// Ends the session. The first reason given is the one that counts.
    pub(crate) fn end(&self, reason: impl Into<String>) {
        self.set_reason(reason);
        self.ended.cancel();
        self.lanes_changed.notify_waiters();
    }

    /// Says why the session is about to end, for whatever ends it then: a client that is told may be faster than we.
    pub(crate) fn set_reason(&self, reason: impl Into<String>) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| reason.into());
    }

    /// Why the session ended, once it has.
    pub(crate) fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a lane, unless the session has ended or has as many as it may.
    pub(crate) fn add_lane(self: &Arc<Self>, opener: Opener, activity: Activity) -> Option<LaneGuard> {
        let number = self.next_lane.fetch_add(1, Ordering::Relaxed);
        if self.ended.is_cancelled() || !self.lanes.add(number, opener, activity, self.max_lanes) {
            return None;
        }
        self.lanes_changed.notify_waiters();
        Some(LaneGuard { session: self.clone(), number })
    }

    /// How many lanes there are.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Whether a stream has a chance: the session lives, and so does one of its lanes.
    pub(crate) fn is_reachable(&self) -> bool {
        !self.ended.is_cancelled() && self.lanes.usable() > 0
    }

    /// How many streams are open on all lanes, the one that each lane keeps for itself included.
    pub(crate) fn streams(&self) -> usize {
        self.lanes.streams()
    }

    /// Bytes received and sent on all present lanes, the multiplexer's frames included.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        self.lanes.bytes()
    }

    /// Opens a stream on the lane with the least outstanding, whose number comes with it. Waits while all are full and
    /// the client may add one; the caller bounds the wait.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn open_stream(&self) -> Result<(tunnel_mux::Stream, u32), OpenStreamError> {
        loop {
            let changed = self.lanes_changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if self.ended.is_cancelled() {
                return Err(OpenStreamError::Ended);
            }
            match self.reserve() {
                Some((place, lane)) => match place.open().await {
                    Ok(stream) => return Ok((stream, lane)),
                    // Others were faster, or the lane died just now: look again, it is out of the list soon.
                    Err(OpenError::Full) => tokio::task::yield_now().await,
                    Err(_closed) => changed.await,
                },
                // A lane that has died is out of the list soon, and its place is free for another.
                None if self.lanes.usable() >= self.max_lanes as usize => return Err(OpenStreamError::Full),
                None => {
                    let mut vacancies = self.lanes.vacancies();
                    // A place given back from here on resolves one of them; one before it is seen now.
                    if !self.lanes.has_room() {
                        let vacated = poll_fn(|cx| {
                            let vacated =
                                vacancies.iter_mut().any(|vacancy| Pin::new(vacancy).poll(cx).is_ready());
                            if vacated { Poll::Ready(()) } else { Poll::Pending }
                        });
                        tokio::select! {
                            () = changed => {}
                            () = vacated => {}
                        }
                    }
                }
            }
        }
    }

    /// A place for the twin of a new stream on this lane, and the pair's number: over a long path, for a client that
    /// understands it, and as long as there is another lane that is nearly free.
    pub(crate) fn twin_beside(&self, lane: u32) -> Option<(Reservation, u64)> {
        if !self.twins || !self.path().is_long() {
            return None;
        }
        let place = self.lanes.reserve_beside(lane)?;
        Some((place, self.pairs.fetch_add(1, Ordering::Relaxed) + 1))
    }

    /// Whether a stream at rest on this lane had better wait there, and another be used: there is bulk on the lane, and
    /// there are lanes without.
    pub(crate) fn is_crowded(&self, lane: u32) -> bool {
        // Asked for each request: most sessions never have a second lane, and need no lock for that.
        self.next_lane.load(Ordering::Relaxed) > 1 && self.lanes.is_crowded_alone(lane)
    }

    /// Queues a message that must not be lost. A client that reads none of a whole queue of them is broken.
    pub(crate) fn send(&self, message: ServerMessage) {
        if self.messages.try_send(message).is_err() && !self.ended.is_cancelled() {
            self.end("the client doesn't read its control stream");
        }
    }

    /// Queues a report; drops and counts it if the queue is half full, so that reports never crowd out messages
    /// that matter.
    pub(crate) fn report(&self, mut message: ServerMessage) {
        if self.messages.capacity() < OUTBOX / 2 {
            self.dropped_reports.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if let ServerMessage::Request(report) = &mut message {
            report.dropped = self.dropped_reports.swap(0, Ordering::Relaxed);
        }
        let _ = self.messages.try_send(message);
    }

    /// Sends the client to a successor.
    pub(crate) fn send_on(&self) {
        self.sent_on.store(true, Ordering::Relaxed);
        let refusal = Refusal::passing(Code::Draining, "another server process is taking over", 0);
        self.send(ServerMessage::GoAway { refusal });
    }

    /// Whether it was sent to a successor, which may have died since.
    pub(crate) fn was_sent_on(&self) -> bool {
        self.sent_on.load(Ordering::Relaxed)
    }

    /// Remembers that the client said it is about to leave.
    pub(crate) fn set_leaving(&self) {
        self.leaving.cancel();
    }

    /// Whether the client said it is about to leave: then its names are released, not held.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// Waits until the client said that it is about to leave, or the session has ended.
    pub(crate) async fn left(&self) {
        tokio::select! {
            () = self.leaving.cancelled() => {}
            () = self.ended.cancelled() => {}
        }
    }

    /// Queues a heartbeat.
    pub(crate) fn ping(&self) {
        self.send(ServerMessage::Ping { seq: self.pulse.beat() });
    }

    /// Takes the answer to a heartbeat.
    pub(crate) fn pong(&self, seq: u64) {
        self.pulse.answer(seq);
    }

    /// Says something and waits until the client has surely read it: until it answers a heartbeat queued behind, or
    /// the session ends. The caller bounds the wait.
    ///
    /// # Cancel safety
    /// Cancel safe; the message stays queued.
    pub(crate) async fn tell(&self, message: ServerMessage) {
        self.send(message);
        let seq = self.pulse.beat();
        self.send(ServerMessage::Ping { seq });
        tokio::select! {
            () = self.pulse.answered(seq) => {}
            () = self.ended.cancelled() => {}
        }
    }

    /// Waits until the client is known to live now, or the session has ended. The caller bounds the wait.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn shows_life(&self) {
        tokio::select! {
            () = self.pulse.felt(|seq| self.send(ServerMessage::Ping { seq })) => {}
            () = self.ended.cancelled() => {}
        }
    }

    /// The heartbeat's last round trip; `None` before the first.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.pulse.rtt()
    }

    /// Notes a sign of life.
    pub(crate) fn set_heard(&self) {
        self.pulse.set_heard();
    }

    /// How long there has been no sign of life.
    pub(crate) fn silent_for(&self) -> Duration {
        let by_message = self.pulse.silent_for();
        self.lanes.last_read().map_or(by_message, |at| by_message.min(at.elapsed()))
    }

    fn reserve(&self) -> Option<(Reservation, u32)> {
        let (live, capacity) = self.lanes.load();
        let count = u32::try_from(self.lanes.usable()).unwrap_or(u32::MAX);
        // Another lane takes the client a few round trips: ask while there is still room, and don't wait for the
        // next look. It can't be asked for again before it has been of no use for long.
        if live * 2 >= capacity && count < self.max_lanes {
            self.want_lanes(count + 1);
        }
        let place = self.lanes.reserve();
        if self.asleep.load(Ordering::SeqCst) {
            self.used.notify_one();
        }
        place
    }

    fn want_lanes(&self, lanes: u32) {
        if self.wanted_lanes.fetch_max(lanes, Ordering::Relaxed) < lanes {
            self.send(ServerMessage::WantLanes { lanes });
        }
    }

    /// Waits until there is something to see on the lanes: a session nobody visits costs no timer.
    async fn stir(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        if !self.lanes.is_at_rest() {
            self.asleep.store(false, Ordering::SeqCst);
            return;
        }
        self.used.notified().await;
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Has the client be far away.
    #[cfg(test)]
    pub(crate) fn set_far(&self) {
        self.pulse.set_far();
    }

    fn path(&self) -> Path {
        self.pulse.path()
    }
}

impl LaneGuard {
    /// Notes that the client beats on this further lane, and so can be told apart from its visitors.
    pub(crate) fn set_beats(&self) {
        self.session.lanes.set_beats(self.number);
    }
}

impl Drop for LaneGuard {
    fn drop(&mut self) {
        self.session.lanes.remove(self.number);
        self.session.lanes_changed.notify_waiters();
    }
}

/// Messages that may wait for a slow link: a client asks for at most 256 tunnels, each answered once.
const OUTBOX: usize = 1024;
