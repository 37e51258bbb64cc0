//! An answer on its way out, on one HTTP/2 stream.
//!
//! Never more than the visitor made room for is handed to `h2`. So a visitor that makes none stalls here, where it
//! has a deadline, and holds no more of an answer than one piece.

use std::{
    future::{Future, poll_fn},
    task::Poll,
    time::Duration,
};

use ::h2::{Reason, SendStream, server::SendResponse};
use ::http::{
    HeaderMap, HeaderName, Method, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE},
};
use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;

use crate::http::date;

/// Why a body didn't get out. But for [`SendError::Body`] the stream has been reset then.
#[derive(Debug, thiserror::Error)]
pub(in crate::http) enum SendError {
    #[error("the other side reset the stream ({0})")]
    Reset(Reason),
    #[error("the other side took nothing for too long")]
    Stalled,
    /// With the code that its source gave, if that speaks HTTP/2.
    #[error("the body broke off")]
    Body(Option<Reason>),
    #[error(transparent)]
    Stream(#[from] ::h2::Error),
}

/// Sends an answer. What it is an answer to decides whether it has a body.
pub(super) async fn send<B>(
    respond: &mut SendResponse<Bytes>,
    method: &Method,
    response: Response<B>,
    stall: Duration,
) -> Result<(), SendError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + 'static,
{
    let (mut head, mut body) = response.into_parts();
    strip(&mut head.headers);
    date::stamp(&mut head.headers);
    let status = head.status;
    let has_no_body =
        method == Method::HEAD || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    if let (false, Some(length @ 1..)) = (has_no_body, body.size_hint().exact()) {
        head.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    let is_over = has_no_body || body.is_end_stream();
    let mut to = respond.send_response(Response::from_parts(head, ()), is_over)?;
    if is_over {
        return Ok(());
    }
    let sent = pump(&mut body, &mut to, Some(stall)).await;
    // A reset of ours overtakes what `h2` hasn't written yet, even the head. One that follows from the stream being
    // dropped doesn't (CANCEL), but can say nothing either.
    if let Err(SendError::Body(Some(reason))) = &sent {
        to.send_reset(*reason);
    }
    sent
}

/// Moves a body to its end, trailers included.
///
/// # Cancel safety
/// Dropping it and the stream resets the stream.
pub(in crate::http) async fn pump<B>(
    body: &mut B,
    to: &mut SendStream<Bytes>,
    stall: Option<Duration>,
) -> Result<(), SendError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + 'static,
{
    loop {
        let frame = match unless_reset(to, body.frame()).await? {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Err(SendError::Body(reason(&error))),
            None => return Ok(to.send_data(Bytes::new(), true)?),
        };
        match frame.into_data().map_err(Frame::into_trailers) {
            Ok(data) => {
                let is_last = body.is_end_stream();
                push(to, data, is_last, stall).await?;
                if is_last {
                    return Ok(());
                }
            }
            Err(Ok(trailers)) => return Ok(to.send_trailers(trailers)?),
            Err(Err(_unknown)) => {}
        }
    }
}

/// Sends a piece, as far as there is room each time.
async fn push(
    to: &mut SendStream<Bytes>,
    mut data: Bytes,
    is_last: bool,
    stall: Option<Duration>,
) -> Result<(), SendError> {
    while !data.is_empty() {
        to.reserve_capacity(data.len());
        if to.capacity() == 0 {
            let room = poll_fn(|cx| to.poll_capacity(cx));
            let room = match stall {
                Some(stall) => tokio::time::timeout(stall, room).await,
                None => Ok(room.await),
            };
            match room {
                Ok(Some(room)) => _ = room?,
                // No longer open for sending: whoever ended it said why.
                Ok(None) => return Err(SendError::Reset(gone(to).await)),
                Err(_late) => {
                    to.send_reset(Reason::CANCEL);
                    return Err(SendError::Stalled);
                }
            }
            continue;
        }
        let piece = data.split_to(to.capacity().min(data.len()));
        let ends = is_last && data.is_empty();
        to.send_data(piece, ends)?;
        if ends {
            return Ok(());
        }
    }
    if is_last {
        to.send_data(Bytes::new(), true)?;
    }
    Ok(())
}

async fn gone(to: &mut SendStream<Bytes>) -> Reason {
    poll_fn(|cx| match to.poll_reset(cx) {
        Poll::Ready(Ok(reason)) => Poll::Ready(reason),
        Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(Reason::CANCEL),
    })
    .await
}

/// Waits for something, or for the other side to reset the stream.
async fn unless_reset<F: Future>(to: &mut SendStream<Bytes>, future: F) -> Result<F::Output, SendError> {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(reason) = to.poll_reset(cx)? {
            return Poll::Ready(Err(SendError::Reset(reason)));
        }
        future.as_mut().poll(cx).map(Ok)
    })
    .await
}

/// What the source of a broken body said, if it said that on HTTP/2.
fn reason(error: &(dyn std::error::Error + 'static)) -> Option<Reason> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<::h2::Error>()
            && error.is_reset()
            && error.is_remote()
        {
            // An end without an error is no end for one who waits for more.
            return error.reason().filter(|reason| *reason != Reason::NO_ERROR);
        }
        next = error.source();
    }
    None
}

/// Fields about a connection, which HTTP/2 doesn't have (RFC 9113 §8.2.2).
pub(in crate::http) fn strip(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE, HeaderName::from_static("keep-alive")] {
        headers.remove(name);
    }
}
