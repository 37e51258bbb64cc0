//! A further lane of a session: a multiplexer, a heartbeat of its own, and nothing else.

use std::{sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt, time::sleep_until};
use tokio_util::{compat::TokioAsyncReadCompatExt, task::AbortOnDropHandle};
use tracing::{debug, info};
use tunnel_io::BoxedIo;
use tunnel_mux::Lane;
use tunnel_protocol::{ClientMessage, Code, ServerMessage, frame, limits::CONTROL_FRAME_MAX};

use super::{Control, messages::Messages};
use crate::session::{LaneGuard, Session};

/// Drives a lane until it or its session ends.
pub(super) async fn run(control: &Control, io: BoxedIo, session: &Arc<Session>) {
    let config = mux_config(control, session);
    let Lane { opener, incoming, driver, activity } = tunnel_mux::server(io.compat(), &config);
    let Some(guard) = session.add_lane(opener, activity.clone()) else {
        control.shared.metrics.refused(Code::ServerBusy);
        debug!(session.id = %session.id, "no room for this lane");
        return;
    };
    info!(session.id = %session.id, lanes = session.lanes(), "lane added");
    let driver = AbortOnDropHandle::new(control.tasks.spawn(driver));
    let reason = tokio::select! {
        ended = driver => format!("{ended:?}"),
        reason = beat(control, incoming, &activity, &guard) => reason,
        () = session.ended.cancelled() => "its session ended".to_owned(),
    };
    debug!(session.id = %session.id, %reason, "lane ended");
}

/// Answers the lane's heartbeats, and tells when they stay away. A client that opens no stream on a further lane
/// has none, and its lane is watched by TCP alone.
async fn beat(
    control: &Control,
    mut incoming: tunnel_mux::Incoming,
    activity: &tunnel_mux::Activity,
    guard: &LaneGuard,
) -> String {
    let Some(stream) = incoming.accept().await else { return std::future::pending().await };
    guard.set_beats();
    let others = super::session::refuse_streams(incoming);
    tokio::select! {
        reason = answer(control, stream, activity) => reason,
        () = others => "the connection was lost".to_owned(),
    }
}

/// Answers the heartbeats on a lane's own stream, until for too long no byte has come on the lane.
async fn answer(control: &Control, stream: tunnel_mux::Stream, activity: &tunnel_mux::Activity) -> String {
    let (read, mut write) = tokio::io::split(stream);
    let mut messages = Messages::new(read);
    let dead_after = control.shared.config().timeouts.dead_after;
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            silence = silence(activity, dead_after) => {
                return format!("no heartbeat for {} s", silence.as_secs_f32());
            }
        };
        match message {
            Ok(Some(ClientMessage::Ping { seq })) => {
                let Ok(pong) = frame::encode(&ServerMessage::Pong { seq }, CONTROL_FRAME_MAX) else {
                    continue;
                };
                match tokio::time::timeout(dead_after, write.write_all(&pong)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return "its heartbeat stream broke".to_owned(),
                }
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return "its heartbeat stream ended".to_owned(),
        }
    }
}

/// Waits until nothing has come on a lane for `limit`; how long it is then.
async fn silence(activity: &tunnel_mux::Activity, limit: Duration) -> Duration {
    loop {
        let heard = activity.last_read();
        if heard.elapsed() >= limit {
            return heard.elapsed();
        }
        sleep_until(heard + limit).await;
    }
}

/// The multiplexer's settings for every lane of a session.
pub(super) fn mux_config(control: &Control, session: &Session) -> tunnel_mux::Config {
    let shared = &control.shared;
    let account = shared.accounts.of(session.identity.token);
    let mut config = tunnel_mux::Config::default();
    config.max_streams = shared.config().limits.streams_per_lane;
    config.receive_budget = Some(account.unread(&shared.unread));
    config
}
