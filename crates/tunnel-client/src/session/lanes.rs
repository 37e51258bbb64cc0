//! A session's connections: the first one it lives and dies with, and as many more as the server wants.
//!
//! Each lane has a driver, which moves its bytes and waits for nobody, and a doorman, which takes the streams the
//! server opens and owns their tasks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::compat::TokioAsyncReadCompatExt;
use tracing::{Instrument, debug};
use tunnel_io::BoxedIo;
use tunnel_mux::{Activity, Config, Incoming, LaneError, Opener};
use tunnel_protocol::{Welcome, login::Attach};

use super::{
    Gauge,
    backoff::Backoff,
    dial_pace::DialPace,
    heartbeat::Pace,
    lane_beat,
    login::{Established, log_in},
    twins::Twins,
    visitor,
};
use crate::{
    Event, LoginError,
    shared::{Shared, random},
};

/// Connections being made at once: a server that wants many lanes should not see a burst of handshakes.
const DIALS: usize = 4;
/// How long what came on a lane may take to reach the upstream when the lane is gone: what is complete shall arrive,
/// and an upstream that takes nothing holds nothing for long.
const LINGER: Duration = Duration::from_secs(10);
/// Streams a lane takes beyond what the server says it will open, so that the two counts may differ for a moment.
const SPARE_STREAMS: usize = 64;

/// The lanes of one session. Dropping it closes them all.
pub(crate) struct Lanes {
    shared: Arc<Shared>,
    gauge: Arc<Gauge>,
    twins: Arc<Twins>,
    attach: Attach,
    config: Config,
    pace: Pace,
    /// How many lanes there are: the first one included.
    count: Arc<AtomicU32>,
    /// Most lanes this session may have.
    max: u32,
    drivers: JoinSet<(Rank, End)>,
    doormen: JoinSet<()>,
    dials: JoinSet<Result<Established, LoginError>>,
    backoff: Backoff,
    retry_at: Instant,
    dial_pace: DialPace,
}

/// How a lane ended.
#[derive(Debug)]
struct End {
    reason: String,
    /// The server closed it between two frames.
    in_order: bool,
}

/// What a lane is to its session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    /// The one that the session lives and dies with.
    First,
    /// One that may come and go.
    Further,
}

impl Lanes {
    pub(crate) fn new(shared: Arc<Shared>, gauge: Arc<Gauge>, welcome: &Welcome, pace: Pace) -> Self {
        let streams = usize::try_from(welcome.streams_per_lane).unwrap_or(usize::MAX);
        let max_streams = streams.saturating_add(SPARE_STREAMS).min(tunnel_mux::MAX_STREAMS);
        Self {
            gauge,
            twins: Arc::default(),
            attach: Attach { session: welcome.session, resume: welcome.resume.clone() },
            config: Config { max_streams, ..Config::default() },
            pace,
            count: Arc::new(AtomicU32::new(0)),
            max: welcome.max_lanes.min(shared.settings.limits.max_lanes).max(1),
            drivers: JoinSet::new(),
            doormen: JoinSet::new(),
            dials: JoinSet::new(),
            backoff: Backoff::default(),
            retry_at: Instant::now(),
            dial_pace: DialPace::new(Instant::now()),
            shared,
        }
    }

    /// Starts the lane the session lives and dies with.
    pub(crate) fn first(&mut self, io: BoxedIo) -> (Opener, Activity) {
        self.start(io, Rank::First)
    }

    /// How many lanes there are, readable while [`Lanes::run`] runs.
    pub(crate) fn count(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.count)
    }

    /// Keeps as many lanes as are `wanted`, until the first one ends. `changed` is called after each change.
    pub(crate) async fn run(mut self, mut wanted: watch::Receiver<u32>, changed: impl Fn()) -> String {
        loop {
            let missing = self.missing(*wanted.borrow_and_update());
            let (now, dial_at) = (Instant::now(), self.retry_at.max(self.dial_pace.ready_at()));
            if missing && now >= dial_at && self.dials.len() < DIALS {
                self.dial_pace.take(now);
                let (shared, attach) = (Arc::clone(&self.shared), self.attach.clone());
                self.dials.spawn(async move { log_in(&shared.settings, Some(attach)).await });
                continue;
            }
            let waiting = missing && self.dials.len() < DIALS;
            tokio::select! {
                Some(ended) = self.drivers.join_next() => match ended {
                    Ok((Rank::Further, end)) => {
                        debug!(?end, "a further lane ended");
                        let lanes = self.count.fetch_sub(1, Ordering::Relaxed) - 1;
                        // One that the server had no use for says nothing about the path.
                        if !end.in_order || self.missing(*wanted.borrow()) {
                            self.put_off(None);
                        }
                        self.shared.emit(Event::LaneLost { lanes });
                        changed();
                    }
                    Ok((Rank::First, end)) => return end.reason,
                    Err(died) => return format!("the connection's task died: {died}"),
                },
                Some(_) = self.doormen.join_next() => {}
                Some(dialled) = self.dials.join_next() => match dialled {
                    Ok(Ok(established)) => {
                        self.start(established.io, Rank::Further);
                        self.backoff.reset();
                        self.shared.emit(Event::LaneAdded { lanes: self.count.load(Ordering::Relaxed) });
                        changed();
                    }
                    Ok(Err(error)) => {
                        debug!(%error, "no further lane");
                        if error.is_final() {
                            // The server has enough; asking again in this session is no use.
                            self.max = self.count.load(Ordering::Relaxed);
                        }
                        self.put_off(error.retry_after());
                    }
                    Err(died) => {
                        debug!(%died, "a dial's task died");
                        self.put_off(None);
                    }
                },
                Ok(()) = wanted.changed() => {}
                () = tokio::time::sleep_until(dial_at), if waiting => {}
            }
        }
    }

    fn missing(&self, wanted: u32) -> bool {
        let have = self.count.load(Ordering::Relaxed);
        let coming = u32::try_from(self.dials.len()).unwrap_or(u32::MAX);
        have.saturating_add(coming) < wanted.min(self.max)
    }

    fn put_off(&mut self, retry_after: Option<Duration>) {
        // A lane may die with its path: never again at once.
        self.backoff.at_least(1);
        self.retry_at = Instant::now() + self.backoff.next(Duration::MAX, random(), retry_after);
    }

    fn start(&mut self, io: BoxedIo, rank: Rank) -> (Opener, Activity) {
        let lane = tunnel_mux::client(io.compat(), &self.config);
        self.count.fetch_add(1, Ordering::Relaxed);
        let driver = lane.driver;
        match rank {
            // The session has its own heartbeat, on the control stream.
            Rank::First => self.drivers.spawn(async move { (rank, ended(driver.await)) }),
            Rank::Further => {
                let beat = lane_beat::watch(self.pace, lane.opener.clone(), lane.activity.clone());
                self.drivers.spawn(async move {
                    // Its own task, so that the heartbeat notices a driver that is stuck.
                    let mut driving = JoinSet::new();
                    driving.spawn(driver);
                    let end = tokio::select! {
                        Some(end) = driving.join_next() => {
                            end.map_or_else(|died| End { reason: died.to_string(), in_order: false }, ended)
                        }
                        silence = beat => End { reason: silence, in_order: false },
                    };
                    (rank, end)
                })
            }
        };
        let (shared, gauge) = (Arc::clone(&self.shared), Arc::clone(&self.gauge));
        let doorman = admit(lane.incoming, shared, gauge, Arc::clone(&self.twins));
        self.doormen.spawn(doorman.in_current_span());
        (lane.opener, lane.activity)
    }
}

fn ended(end: Result<(), LaneError>) -> End {
    match end {
        Ok(()) => End { reason: "the server closed the connection".into(), in_order: true },
        Err(error) => {
            End { reason: format!("the connection to the server was lost: {error}"), in_order: false }
        }
    }
}

/// Takes the streams the server opens until the lane is gone. What came before is still delivered, for a while.
async fn admit(mut incoming: Incoming, shared: Arc<Shared>, gauge: Arc<Gauge>, twins: Arc<Twins>) {
    let mut visitors = JoinSet::new();
    loop {
        tokio::select! {
            stream = incoming.accept() => match stream {
                Some(stream) => {
                    let (shared, gauge) = (Arc::clone(&shared), Arc::clone(&gauge));
                    visitors.spawn(visitor::serve(stream, shared, gauge, Arc::clone(&twins)));
                }
                None => break,
            },
            Some(_) = visitors.join_next() => {}
        }
    }
    let delivered = async { while visitors.join_next().await.is_some() {} };
    let _ = timeout(LINGER, delivered).await;
}
