//! From an endpoint to a stream: the one way a visitor gets to a client.
//!
//! Waits for an absent client within the endpoint's bounds, picks the least loaded lane, opens a stream on it and
//! writes the header. The answer to "is the upstream there" comes back on the stream itself
//! ([`VisitorStream`](crate::stream::VisitorStream)).

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::io::AsyncWriteExt;
use tunnel_protocol::{Code, RequestId, StreamHeader, StreamKind};

use crate::{
    endpoint::{Absent, Endpoint},
    session::OpenStreamError,
    stream::{StreamRefused, VisitorStream},
};

/// How long a client may take from a stream's header to `Ready` or `Refused`: longer than a client's own limit for
/// dialling (10 s), so that its answer, which says more, comes first.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// How long a visitor may wait for room on a lane: enough for a client to bring another lane up.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);

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
    /// The lane or the session died while the stream was in use; nobody knows how far the exchange got.
    #[error("the connection to the client was lost")]
    LaneLost,
    /// The client answered that it can't or won't.
    #[error("the client refused: {0}")]
    Refused(Code),
    /// The upstream reset the stream or broke off.
    #[error("the upstream broke off: {0}")]
    Broken(#[source] io::Error),
}

impl DispatchError {
    /// What a failure counts as for visitors that can't be told in words.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Absent(Absent::Gone) => Code::TunnelNotFound,
            Self::Absent(Absent::Away | Absent::Crowded) | Self::LaneLost => Code::TunnelAway,
            Self::Full => Code::TooManyVisitors,
            Self::Refused(code) => *code,
            Self::Broken(_) => Code::UpstreamBroken,
        }
    }
}

/// Opens a stream to the upstream behind `endpoint`.
///
/// # Errors
/// [`DispatchError`]; nothing was sent to the upstream then.
///
/// # Cancel safety
/// Cancel safe: a stream that was opened is reset.
pub(crate) async fn open(
    endpoint: &Arc<Endpoint>,
    kind: StreamKind,
    visit: Visit,
) -> Result<VisitorStream, DispatchError> {
    // A session can die between being picked and carrying the stream. Then the endpoint is about to change its
    // state, and asking again waits at it; twice is enough, since each time a session must have died just now.
    for _ in 0..3 {
        let target = endpoint.wait_for_target().await.map_err(DispatchError::Absent)?;
        let opened = tokio::time::timeout(OPEN_PATIENCE, target.session.open_stream()).await;
        let mut stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(OpenStreamError::Full)) | Err(_) => return Err(DispatchError::Full),
            Ok(Err(OpenStreamError::Ended)) => {
                endpoint.wait_until_not(&target).await;
                continue;
            }
        };
        let Visit { request, visitor, local } = visit;
        let header =
            StreamHeader { kind, tunnel: target.tunnel, request, visitor: Some(visitor), local: Some(local) };
        if stream.write_all(&header.encode()).await.is_err() {
            // That lane died; the session may have others.
            continue;
        }
        return Ok(VisitorStream::new(stream, READY_PATIENCE));
    }
    Err(DispatchError::LaneLost)
}

impl From<&io::Error> for DispatchError {
    /// What an error met while using a [`VisitorStream`] means.
    fn from(error: &io::Error) -> Self {
        if let Some(refused) = error.get_ref().and_then(|inner| inner.downcast_ref::<StreamRefused>()) {
            Self::Refused(refused.0)
        } else if tunnel_mux::is_lane_lost(error) {
            Self::LaneLost
        } else {
            Self::Broken(io::Error::new(error.kind(), error.to_string()))
        }
    }
}
