//! A further lane of a session: a multiplexer, a heartbeat of its own, and nothing else.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio_util::{compat::TokioAsyncReadCompatExt, task::AbortOnDropHandle};
use tracing::{debug, info};
use tunnel_io::BoxedIo;
use tunnel_mux::Lane;
use tunnel_protocol::{ClientMessage, ServerMessage, frame, limits::CONTROL_FRAME_MAX};

use super::{Control, messages::Messages};
use crate::session::Session;

/// Drives a lane until it or its session ends.
pub(super) async fn run(control: &Control, io: BoxedIo, session: &Arc<Session>) {
    let config = mux_config(control);
    let Lane { opener, incoming, driver, activity } = tunnel_mux::server(io.compat(), &config);
    let Some(_guard) = session.add_lane(opener, activity.clone()) else {
        debug!(session.id = %session.id, "no room for this lane");
        return;
    };
    info!(session.id = %session.id, lanes = session.lanes(), "lane added");
    let driver = AbortOnDropHandle::new(control.tasks.spawn(driver));
    let reason = tokio::select! {
        ended = driver => format!("{ended:?}"),
        reason = beat(control, incoming, &activity) => reason,
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
) -> String {
    let Some(stream) = incoming.accept().await else { return std::future::pending().await };
    let others = super::session::refuse_streams(incoming);
    tokio::select! {
        reason = answer(control, stream, activity) => reason,
        () = others => "the connection was lost".to_owned(),
    }
}

/// Answers the heartbeats on a lane's own stream until they stay away.
async fn answer(control: &Control, stream: tunnel_mux::Stream, activity: &tunnel_mux::Activity) -> String {
    let (read, mut write) = tokio::io::split(stream);
    let mut messages = Messages::new(read);
    let dead_after = control.shared.config.timeouts.dead_after;
    let mut seen = activity.bytes_read();
    loop {
        match tokio::time::timeout(dead_after, messages.next()).await {
            Ok(Ok(Some(ClientMessage::Ping { seq }))) => {
                let Ok(pong) = frame::encode(&ServerMessage::Pong { seq }, CONTROL_FRAME_MAX) else {
                    continue;
                };
                match tokio::time::timeout(dead_after, write.write_all(&pong)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return "its heartbeat stream broke".to_owned(),
                }
            }
            Ok(Ok(Some(_))) => {}
            Ok(Ok(None) | Err(_)) => return "its heartbeat stream ended".to_owned(),
            Err(_elapsed) if activity.bytes_read() == seen => {
                return format!("no heartbeat for {} s", dead_after.as_secs());
            }
            Err(_elapsed) => {}
        }
        seen = activity.bytes_read();
    }
}

/// The multiplexer's settings for every lane of this server.
pub(super) fn mux_config(control: &Control) -> tunnel_mux::Config {
    let mut config = tunnel_mux::Config::default();
    config.max_streams = control.shared.config.limits.streams_per_lane;
    config.receive_budget = Some(control.shared.unread.clone());
    config
}
