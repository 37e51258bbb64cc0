//! One authenticated client on the server: its lanes, and the ways to speak to it.
//!
//! A session is shared by the tasks that drive it (`control`), by the endpoints it serves and by the snapshot. It
//! ends once, for a reason; whoever holds it afterwards finds no lanes and gets errors at once.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tunnel_mux::{Activity, OpenError, Opener, Vacancy};
use tunnel_protocol::{InstanceId, Secret, ServerMessage, SessionId};

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
    pub(crate) started: SystemTime,
    /// What further lanes must show.
    pub(crate) resume: Secret<32>,
    /// Cancelled when the session is to end or has ended.
    pub(crate) ended: CancellationToken,
    reason: Mutex<Option<String>>,
    lanes: RwLock<Vec<Lane>>,
    lanes_changed: Notify,
    max_lanes: u32,
    wanted_lanes: AtomicU32,
    next_lane: AtomicU32,
    messages: mpsc::Sender<ServerMessage>,
    dropped_reports: AtomicU64,
    rtt_micros: AtomicU64,
    /// The number of the last heartbeat that was answered.
    answered: watch::Sender<u64>,
    /// When the client was last heard, in milliseconds since `epoch`.
    heard_ms: AtomicU64,
    epoch: Instant,
    leaving: AtomicBool,
}

#[derive(Clone, Debug)]
struct Lane {
    number: u32,
    opener: Opener,
    activity: Activity,
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
        let Who { identity, instance, machine, agent, address } = who;
        let session = Self {
            id,
            identity,
            instance,
            machine,
            agent,
            address,
            started: SystemTime::now(),
            resume,
            ended,
            reason: Mutex::default(),
            lanes: RwLock::default(),
            lanes_changed: Notify::new(),
            max_lanes,
            wanted_lanes: AtomicU32::new(1),
            next_lane: AtomicU32::new(0),
            messages,
            dropped_reports: AtomicU64::new(0),
            rtt_micros: AtomicU64::new(0),
            answered: watch::Sender::new(0),
            heard_ms: AtomicU64::new(0),
            epoch: Instant::now(),
            leaving: AtomicBool::new(false),
        };
        (Arc::new(session), outbox)
    }

    /// Ends the session. The first reason given is the one that counts.
    pub(crate) fn end(&self, reason: impl Into<String>) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| reason.into());
        self.ended.cancel();
        self.lanes_changed.notify_waiters();
    }

    /// Why the session ended, once it has.
    pub(crate) fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a lane, unless the session has ended or has as many as it may.
    pub(crate) fn add_lane(self: &Arc<Self>, opener: Opener, activity: Activity) -> Option<LaneGuard> {
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        if self.ended.is_cancelled() || lanes.len() >= self.max_lanes as usize {
            return None;
        }
        let number = self.next_lane.fetch_add(1, Ordering::Relaxed);
        lanes.push(Lane { number, opener, activity });
        drop(lanes);
        self.lanes_changed.notify_waiters();
        Some(LaneGuard { session: self.clone(), number })
    }

    /// How many lanes there are.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn open_lanes(&self) -> usize {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        lanes.iter().filter(|lane| !lane.opener.is_closed()).count()
    }

    /// How many streams are open on all lanes, the one that each lane keeps for itself included.
    pub(crate) fn streams(&self) -> usize {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner).iter().map(|lane| lane.opener.live()).sum()
    }

    /// Bytes received and sent on all present lanes, the multiplexer's frames included.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        lanes.iter().fold((0, 0), |(read, written), lane| {
            (read + lane.activity.bytes_read(), written + lane.activity.bytes_written())
        })
    }

    /// Opens a stream on the lane with the fewest, waiting while all are full and the client may add one. The
    /// caller bounds the wait.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn open_stream(&self) -> Result<tunnel_mux::Stream, OpenStreamError> {
        loop {
            let changed = self.lanes_changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if self.ended.is_cancelled() {
                return Err(OpenStreamError::Ended);
            }
            match self.pick_lane() {
                Some(opener) => match opener.open().await {
                    Ok(stream) => return Ok(stream),
                    // Others were faster, or the lane died just now: look again, it is out of the list soon.
                    Err(OpenError::Full) => tokio::task::yield_now().await,
                    Err(_closed) => changed.await,
                },
                // A lane that has died is out of the list soon, and its place is free for another.
                None if self.open_lanes() >= self.max_lanes as usize => return Err(OpenStreamError::Full),
                None => {
                    let mut vacancies = self.vacancies();
                    // A place given back from here on resolves one of them; one before it is seen now.
                    if self.pick_lane().is_none() {
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

    fn vacancies(&self) -> Vec<Vacancy> {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        lanes.iter().map(|lane| lane.opener.vacancy()).collect()
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

    /// Remembers that the client said it is about to leave.
    pub(crate) fn set_leaving(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether the client said it is about to leave: then its names are released, not held.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Queues a heartbeat. Its number is the time, so that nothing must be remembered to know the round trip.
    pub(crate) fn ping(&self) {
        self.send(ServerMessage::Ping { seq: self.now_micros() });
    }

    /// Takes the answer to a heartbeat. A number from the future is some other client's idea of a joke.
    pub(crate) fn pong(&self, seq: u64) {
        if let Some(rtt) = self.now_micros().checked_sub(seq) {
            self.rtt_micros.store(rtt.max(1), Ordering::Relaxed);
            self.answered.send_replace(seq);
        }
    }

    /// Says something and waits until the client has surely read it: until it answers a heartbeat queued behind, or
    /// the session ends. The caller bounds the wait.
    ///
    /// # Cancel safety
    /// Cancel safe; the message stays queued.
    pub(crate) async fn tell(&self, message: ServerMessage) {
        self.send(message);
        let seq = self.now_micros();
        let mut answered = self.answered.subscribe();
        self.send(ServerMessage::Ping { seq });
        tokio::select! {
            _ = answered.wait_for(|answered| *answered >= seq) => {}
            () = self.ended.cancelled() => {}
        }
    }

    /// The heartbeat's last round trip; `None` before the first.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        match self.rtt_micros.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    /// Notes a sign of life.
    pub(crate) fn set_heard(&self) {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(now, Ordering::Relaxed);
    }

    /// How long there has been no sign of life.
    pub(crate) fn silent_for(&self) -> Duration {
        self.epoch.elapsed().saturating_sub(Duration::from_millis(self.heard_ms.load(Ordering::Relaxed)))
    }

    fn now_micros(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn pick_lane(&self) -> Option<Opener> {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        let (mut live, mut capacity) = (0, 0);
        for lane in lanes.iter() {
            live += lane.opener.live();
            capacity += lane.opener.capacity();
        }
        let count = u32::try_from(lanes.len()).unwrap_or(u32::MAX);
        // Another lane takes the client a few round trips: ask while there is still room.
        if live * 2 >= capacity && count < self.max_lanes {
            self.want_lanes(count + 1);
        }
        let open = lanes.iter().filter(|lane| !lane.opener.is_closed());
        let best = open.min_by_key(|lane| lane.opener.live())?;
        (best.opener.live() < best.opener.capacity()).then(|| best.opener.clone())
    }

    fn want_lanes(&self, lanes: u32) {
        if self.wanted_lanes.fetch_max(lanes, Ordering::Relaxed) < lanes {
            self.send(ServerMessage::WantLanes { lanes });
        }
    }
}

impl Drop for LaneGuard {
    fn drop(&mut self) {
        let mut lanes = self.session.lanes.write().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|lane| lane.number != self.number);
        drop(lanes);
        self.session.lanes_changed.notify_waiters();
    }
}

/// Messages that may wait for a slow link: a client asks for at most 256 tunnels, each answered once.
const OUTBOX: usize = 1024;
