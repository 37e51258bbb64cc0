//! From an endpoint to a stream: the one way a visitor gets to a client.
//!
//! Waits for an absent client within the endpoint's bounds, picks the least busy of several clients and its least
//! loaded lane, opens a stream on it and writes the header. Over a long path a new stream gets a twin on another lane.
//! The answer to "is the upstream there" comes back on the stream itself
//! ([`VisitorStream`](crate::stream::VisitorStream)).

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    time::{sleep, timeout},
};
use tunnel_io::{Pace, Twinned};
use tunnel_mux::{Reservation, Stream};
use tunnel_protocol::{Code, RequestId, StreamHeader, StreamKind, Twin, limits::TWIN_BYTES};

use crate::{
    endpoint::{Absent, Endpoint, Serving, Target},
    policy::{Denied, Policies},
    session::OpenStreamError,
    stream::{Spent, StreamLate, StreamRefused, VisitorStream},
};

/// How long a client may take from a stream's header to `Ready` or `Refused`: longer than a client's own limit for
/// dialling (10 s), so that its answer, which says more, comes first.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// How long a visitor may wait for room on a lane: enough for a client to bring another lane up.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);

/// How long a visitor waits for a client that is on trial, while others could serve it.
const TRIAL_PATIENCE: Duration = Duration::from_secs(3);

/// How long a datagram does: less than its flow waits in all.
const TRIAL_PATIENCE_UDP: Duration = Duration::from_millis(500);

/// How long a stream that says little has a twin: whoever has exchanged less until then is no new visitor any more.
const TWIN_AGE: Duration = Duration::from_secs(10);

/// Who visits, and through which of our addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    /// What the server and the client call this visitor in their logs.
    pub(crate) request: RequestId,
    /// The visitor's address.
    pub(crate) visitor: SocketAddr,
    /// The address of ours that it connected to.
    pub(crate) local: SocketAddr,
}

/// Why a visitor didn't get through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DispatchError {
    /// No client serves the endpoint.
    #[error("no client serves this tunnel ({0:?})")]
    Absent(Absent),
    /// The tunnel, its session or the server carries as many visitors as it may.
    #[error("no room for another visitor")]
    Full,
    /// The tunnel doesn't let the visitor in.
    #[error(transparent)]
    Denied(Denied),
    /// Whoever serves the endpoint now has other policies than those the visitor was checked with.
    #[error("the tunnel's policies changed while the visitor waited")]
    PoliciesChanged,
    /// The lane or the session died while the stream was in use; nobody knows how far the exchange got.
    #[error("the connection to the client was lost")]
    LaneLost,
    /// The tunnel's owner may move no more bytes this month.
    #[error(transparent)]
    Spent(Spent),
    /// The client answered that it can't or won't.
    #[error("the client refused: {0}")]
    Refused(Code),
    /// The client said nothing of its upstream; it may yet get there.
    #[error(transparent)]
    Late(StreamLate),
    /// The upstream reset the stream or broke off.
    #[error("the upstream broke off: {0}")]
    Broken(#[source] io::Error),
}

impl DispatchError {
    /// What a failure counts as for visitors that can't be told in words.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Absent(Absent::Gone) => Code::TunnelNotFound,
            Self::Absent(Absent::Away | Absent::Crowded) | Self::LaneLost | Self::PoliciesChanged => {
                Code::TunnelAway
            }
            Self::Denied(denied) => denied.code(),
            Self::Full => Code::TooManyVisitors,
            Self::Spent(_) => Code::QuotaUsed,
            Self::Refused(code) => *code,
            Self::Late(_) => Code::UpstreamTimeout,
            Self::Broken(_) => Code::UpstreamBroken,
        }
    }

    /// Whether nothing that was sent has gone on to the upstream, and another client's may be there.
    pub(crate) fn may_go_elsewhere(&self) -> bool {
        let Self::Refused(code) = self else { return false };
        matches!(
            code,
            Code::UpstreamRefused
                | Code::UpstreamUnreachable
                | Code::UpstreamTimeout
                | Code::UpstreamTls
                | Code::ClientBusy
        )
    }
}

/// Opens a stream to the upstream behind `endpoint`.
///
/// `checked` are the policies the visitor was let in by: what [`Endpoint::known_policies`] gave before. While a visitor
/// waits, a client with others may have come to serve the endpoint; it is never given a visitor that it didn't let
/// in. With `None` nobody was asked: for tunnels and tests that have no policies to ask. `avoid` has just refused the
/// visitor.
///
/// # Errors
/// [`DispatchError`]; nothing was sent to the upstream then. After [`DispatchError::PoliciesChanged`] the caller asks
/// for the policies again, checks the visitor again, and calls again.
///
/// # Cancel safety
/// Cancel safe: a stream that was opened is reset.
pub(crate) async fn open(
    endpoint: &Arc<Endpoint>,
    kind: StreamKind,
    visit: Visit,
    checked: Option<&Arc<Policies>>,
    avoid: Option<&Arc<Target>>,
) -> Result<VisitorStream, DispatchError> {
    let mut search = Search::new(endpoint, visit.visitor.ip(), checked, avoid.cloned());
    loop {
        let serving = search.next().await?;
        let pace = search.pace(&serving).filter(|_| kind != StreamKind::Udp);
        match open_on(&serving, kind, visit, pace).await {
            Ok(stream) => return Ok(stream.held_by(serving)),
            Err(missed) => search.missed(&serving, missed)?,
        }
    }
}

/// The search for somebody to serve a visitor, who may turn out to be gone.
///
/// A session can die between being picked and carrying the stream. Then the endpoint is about to change its state,
/// and asking again waits at it; three times is enough, since each time a session must have died just now.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    endpoint: &'a Arc<Endpoint>,
    /// Whose place it is, should it have to wait.
    visitor: IpAddr,
    checked: Option<&'a Arc<Policies>>,
    /// Who couldn't serve the visitor.
    avoid: Option<Arc<Target>>,
    /// Whether `avoid` is as good as gone.
    is_over: bool,
    tries: u8,
}

/// Why one target didn't take a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// It carries as many as it can.
    Full,
    /// Its session is over.
    Ended,
    /// The lane died; the session may have others.
    LaneLost,
    /// It was on trial, and its upstream isn't back.
    Failing,
}

impl<'a> Search<'a> {
    /// A search that takes `avoid` only if there is nobody else.
    pub(crate) fn new(
        endpoint: &'a Arc<Endpoint>,
        visitor: IpAddr,
        checked: Option<&'a Arc<Policies>>,
        avoid: Option<Arc<Target>>,
    ) -> Self {
        Self { endpoint, visitor, checked, avoid, is_over: false, tries: 3 }
    }

    /// Who shall serve the visitor.
    ///
    /// # Errors
    /// As [`open`]'s.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Serving, DispatchError> {
        if self.tries == 0 {
            return Err(DispatchError::LaneLost);
        }
        self.tries -= 1;
        if let Some(former) = &self.avoid
            && self.is_over
        {
            self.endpoint.wait_until_not(former).await;
        }
        let serving =
            self.endpoint.serve(self.visitor, self.avoid.as_ref()).await.map_err(DispatchError::Absent)?;
        if self.checked.is_some_and(|checked| !Arc::ptr_eq(checked, &serving.policies)) {
            return Err(DispatchError::PoliciesChanged);
        }
        Ok(serving)
    }

    /// Where it is searched for.
    pub(crate) fn endpoint(&self) -> &'a Arc<Endpoint> {
        self.endpoint
    }

    /// How fast the visitor's bytes may go.
    pub(crate) fn pace(&self, serving: &Serving) -> Option<Arc<Pace>> {
        self.endpoint.pace(&serving.policies)
    }

    /// Goes on after that one couldn't.
    ///
    /// # Errors
    /// [`DispatchError::Full`] if it was full: where the least busy is full, all are.
    pub(crate) fn missed(&mut self, serving: &Serving, missed: Missed) -> Result<(), DispatchError> {
        if missed == Missed::Full {
            return Err(DispatchError::Full);
        }
        self.is_over = missed == Missed::Ended;
        self.avoid = Some(serving.target().clone());
        Ok(())
    }
}

/// Opens a stream to this target and no other, which keeps to `pace`. If it is on trial, the upstream is there then.
///
/// # Errors
/// [`Missed`]; nothing was sent to the upstream then.
///
/// # Cancel safety
/// Cancel safe: a stream that was opened is reset.
pub(crate) async fn open_on(
    serving: &Serving,
    kind: StreamKind,
    visit: Visit,
    pace: Option<Arc<Pace>>,
) -> Result<VisitorStream, Missed> {
    if !serving.is_trial() {
        return begin(serving.target(), kind, visit, pace).await;
    }
    // Boxed, since it is rare: others' futures keep no room for it.
    let trial = Box::pin(async {
        let mut stream = begin(serving.target(), kind, visit, pace).await?;
        stream.ready().await.map_err(|_failed| Missed::Failing)?;
        Ok(stream)
    });
    // Whatever was in its way, others aren't known to have trouble.
    let patience = if kind == StreamKind::Udp { TRIAL_PATIENCE_UDP } else { TRIAL_PATIENCE };
    timeout(patience, trial).await.unwrap_or(Err(Missed::Failing)).map_err(|_: Missed| Missed::Failing)
}

async fn begin(
    target: &Arc<Target>,
    kind: StreamKind,
    visit: Visit,
    pace: Option<Arc<Pace>>,
) -> Result<VisitorStream, Missed> {
    let opened = timeout(OPEN_PATIENCE, target.session.open_stream()).await;
    let (mut stream, lane) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(OpenStreamError::Full)) | Err(_) => return Err(Missed::Full),
        Ok(Err(OpenStreamError::Ended)) => return Err(Missed::Ended),
    };
    let Visit { request, visitor, local } = visit;
    let (visitor, local) = (Some(visitor), Some(local));
    let mut header = StreamHeader { kind, tunnel: target.tunnel, request, visitor, local, twin: None };
    // A datagram that is late is worth nothing, so a second copy of it is neither.
    let twin = if kind == StreamKind::Udp { None } else { target.session.twin_beside(lane) };
    header.twin = twin.as_ref().map(|(_, number)| Twin::Expected(*number));
    stream.write_all(&header.encode()).await.map_err(|_dead| Missed::LaneLost)?;
    let stream = match twin {
        Some((place, number)) => {
            twinned(stream, place, StreamHeader { twin: Some(Twin::Of(number)), ..header })
        }
        None => stream.into(),
    };
    // The bytes of a flow are in its datagrams, and counted there.
    let is_counted = kind != StreamKind::Udp;
    Ok(VisitorStream::new(stream, lane, target.clone(), is_counted, pace, READY_PATIENCE))
}

/// The stream, with a twin that it never waits for.
fn twinned(primary: Stream, place: Reservation, header: StreamHeader) -> Twinned<Stream> {
    let twin = async move {
        let mut twin = place.open().await.ok()?;
        twin.write_all(&header.encode()).await.ok()?;
        Some(twin)
    };
    Twinned::of_primary(primary, Box::pin(twin), TWIN_BYTES, 0).until(sleep(TWIN_AGE))
}

impl From<&io::Error> for DispatchError {
    /// What an error met while using a [`VisitorStream`] means.
    fn from(error: &io::Error) -> Self {
        if let Some(refused) = error.get_ref().and_then(|inner| inner.downcast_ref::<StreamRefused>()) {
            Self::Refused(refused.0)
        } else if error.get_ref().is_some_and(|inner| inner.is::<StreamLate>()) {
            Self::Late(StreamLate)
        } else if error.get_ref().is_some_and(|inner| inner.is::<Spent>()) {
            Self::Spent(Spent)
        } else if tunnel_mux::is_lane_lost(error) {
            Self::LaneLost
        } else {
            Self::Broken(io::Error::new(error.kind(), error.to_string()))
        }
    }
}
