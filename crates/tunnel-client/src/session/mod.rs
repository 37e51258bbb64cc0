//! One session with the server: from the end of its login until its first lane is gone, or it was left in order.
//!
//! ```text
//!   supervisor ── say, leave ──►  ┌ control: receive │ send      (the first mux stream)
//!              ◄── reports ─────  ┤ heartbeat                    (looks at both, waits for neither)
//!                                 └ lanes ─ driver, doorman ─ visitor, visitor, …
//! ```
//! Everything here is owned by the session's one future: dropping it closes every socket and ends every task.

pub(crate) mod supervisor;

mod backoff;
mod binds;
mod clock;
mod control;
mod dial_pace;
mod heartbeat;
mod in_flight;
mod lane_beat;
mod lanes;
mod login;
mod moved;
mod sleep;
mod twins;
mod visitor;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::debug;
use tunnel_protocol::{ClientMessage, ServerMessage, control::RequestReport};

pub(crate) use self::in_flight::{Gauge, InFlight};
use self::{
    control::{Inbox, OUTBOX},
    heartbeat::{Heard, Pace},
    lanes::Lanes,
    login::Established,
};
use crate::{Event, shared::Shared};

/// Time for the control stream to open: it only has to fit into the socket.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);
/// Time for a server to answer `Drain`; streams are finished either way.
const DRAINED_DEADLINE: Duration = Duration::from_secs(5);
/// How long no visitor must have come before a session that is being left may end: streams that the server opened
/// before it answered may still be under way on another lane.
const QUIET: Duration = Duration::from_millis(250);
/// Time for the last bytes to reach the server once all is done.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);
/// The last ping's number: its answer means that what was written before it has arrived.
const LAST_PING: u64 = u64::MAX;

/// What a session tells its supervisor.
#[derive(Debug)]
pub(crate) enum Report {
    /// The server said something about tunnels, or that it is going away.
    Message(ServerMessage),
    /// The number of lanes is another now.
    Lanes(u32),
}

/// Tells sessions apart within this client, whatever ids servers give them.
pub(crate) type Key = u64;

/// How a session reports.
pub(crate) struct Reporter {
    pub(crate) key: Key,
    pub(crate) reports: mpsc::Sender<(Key, Report)>,
}

impl Reporter {
    async fn tell(&self, report: Report) {
        // The receiver lives as long as the supervisor, which no session outlives.
        let _ = self.reports.send((self.key, report)).await;
    }
}

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// It was left, with nothing under way (or no more time for it).
    Left,
    /// It was lost, for this reason.
    Lost(String),
}

/// How a supervisor talks to a session.
pub(crate) struct Handle {
    /// What to say to the server.
    pub(crate) outbox: mpsc::Sender<ClientMessage>,
    /// Set to make the session end: as soon as its visitors are gone, and by then at the latest.
    pub(crate) leave: watch::Sender<Option<Leave>>,
}

/// An order to leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leave {
    /// When to be gone.
    pub(crate) by: Instant,
    /// Whether the server wants it so and the next session is there. A server whose successor has come doesn't say
    /// that it is drained: it has visitors of its own to the end, and ends the session after them.
    pub(crate) is_replaced: bool,
}

/// The session's own ends of its [`Handle`].
pub(crate) struct Channels {
    outbox: mpsc::Sender<ClientMessage>,
    outgoing: mpsc::Receiver<ClientMessage>,
    leave: watch::Receiver<Option<Leave>>,
}

/// A handle and its other end.
pub(crate) fn channels() -> (Handle, Channels) {
    let (outbox, outgoing) = mpsc::channel(OUTBOX);
    let (leave, leaving) = watch::channel(None);
    (Handle { outbox: outbox.clone(), leave }, Channels { outbox, outgoing, leave: leaving })
}

/// Runs a session to its end.
pub(crate) async fn run(
    shared: Arc<Shared>,
    established: Established,
    channels: Channels,
    reporter: Reporter,
) -> SessionEnd {
    let Established { io, welcome, .. } = established;
    let Channels { outbox, outgoing, mut leave } = channels;
    let gauge = Arc::new(Gauge::default());
    let pace = Pace::new(welcome.heartbeat_ms, welcome.dead_after_ms, shared.settings.timeouts.probe);
    let mut lanes = Lanes::new(Arc::clone(&shared), Arc::clone(&gauge), &welcome, pace);
    let (opener, activity) = lanes.first(io);
    let Ok(Ok(control)) = timeout(OPEN_DEADLINE, opener.open()).await else {
        return SessionEnd::Lost("the connection to the server was lost right after the login".into());
    };
    let (reader, writer) = tokio::io::split(control);
    let mut inbox = Inbox::new(reader);

    let (heard, pongs) = Heard::new();
    let wanted_lanes = watch::Sender::new(1);
    let lanes_wanted = wanted_lanes.subscribe();
    let (drained, flushed) = (Notify::new(), Notify::new());
    let count = lanes.count();
    let recount = Notify::new();

    let receive = async {
        loop {
            let message = match inbox.next().await {
                Ok(message) => message,
                Err(error) => return error,
            };
            heard.message();
            match message {
                ServerMessage::Ping { seq } => {
                    // A full outbox means a server that doesn't read: it has no use for an answer.
                    let _ = outbox.try_send(ClientMessage::Pong { seq });
                }
                ServerMessage::Pong { seq: LAST_PING } => flushed.notify_one(),
                ServerMessage::Pong { seq } => heard.pong(seq),
                ServerMessage::Drained => drained.notify_one(),
                ServerMessage::WantLanes { lanes } => {
                    wanted_lanes.send_replace(lanes);
                }
                ServerMessage::Request(report) => tell_request(&shared, report),
                ServerMessage::Notice { message } => shared.emit(Event::Notice { message }),
                other => reporter.tell(Report::Message(other)).await,
            }
        }
    };
    let ping = |seq| {
        let _ = outbox.try_send(ClientMessage::Ping { seq });
    };
    let rtt = |rtt| {
        shared.set_rtt(rtt);
        shared.emit(Event::Rtt { rtt });
    };
    let asked = || shared.asked_for_beat.notified();
    let look = || (activity.last_read(), shared.settings.dialer.way());
    let heart = heartbeat::run(pace, look, &heard, pongs, asked, ping, rtt);
    let lanes = lanes.run(lanes_wanted, || recount.notify_one());
    let recounted = async {
        loop {
            recount.notified().await;
            reporter.tell(Report::Lanes(count.load(Ordering::Relaxed))).await;
        }
    };
    let left = async {
        loop {
            let Some(order) = leave_order(&mut leave).await else { return std::future::pending().await };
            wanted_lanes.send_replace(0);
            tokio::select! {
                _ = timeout_at(order.by, finish(&outbox, &gauge, order, &drained, &flushed)) => return,
                Ok(()) = leave.changed() => {}
            }
        }
    };
    let end = tokio::select! {
        end = receive => SessionEnd::Lost(end.to_string()),
        end = control::send(writer, outgoing) => SessionEnd::Lost(end.to_string()),
        silence = heart => SessionEnd::Lost(silence.to_string()),
        reason = lanes => SessionEnd::Lost(reason),
        never = recounted => never,
        () = left => SessionEnd::Left,
    };
    debug!(session = %welcome.session, ?end, "session ended");
    end
}

/// The order to leave; `None` if nobody will ever give it.
async fn leave_order(leave: &mut watch::Receiver<Option<Leave>>) -> Option<Leave> {
    leave.wait_for(Option::is_some).await.ok().and_then(|order| *order)
}

/// Lets no more visitors in, and waits until those inside have left.
async fn finish(
    outbox: &mpsc::Sender<ClientMessage>,
    gauge: &Gauge,
    Leave { by, is_replaced }: Leave,
    drained: &Notify,
    flushed: &Notify,
) {
    let answered_by = if is_replaced { by } else { Instant::now() + DRAINED_DEADLINE };
    let _ = outbox.send(ClientMessage::Drain { moved: Some(is_replaced) }).await;
    let _ = timeout_at(answered_by, drained.notified()).await;
    loop {
        gauge.idle().await;
        sleep(QUIET).await;
        if gauge.count() == 0 {
            break;
        }
    }
    let _ = outbox.send(ClientMessage::Ping { seq: LAST_PING }).await;
    let _ = timeout(FLUSH_DEADLINE, flushed.notified()).await;
}

/// A report with a hint comes also when none were asked for.
fn tell_request(shared: &Shared, report: RequestReport) {
    if let Some(message) = report.hint.clone() {
        shared.emit(Event::Hint { tunnel: report.tunnel, message });
    }
    if shared.settings.report_requests {
        shared.emit(Event::Request(report));
    }
}
