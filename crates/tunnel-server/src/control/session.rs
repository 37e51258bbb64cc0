//! A session's life after its login: one task that reads what the client says, beside the driver of its lane.
//!
//! Everything the session holds hangs off this task: when it returns, for whatever reason, leases, lanes and
//! sockets are let go by drop, and nothing waits for the client.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::{compat::TokioAsyncReadCompatExt, task::AbortOnDropHandle};
use tracing::{Instrument, info, info_span};
use tunnel_io::BoxedIo;
use tunnel_mux::{Incoming, Lane};
use tunnel_protocol::{ClientMessage, ServerMessage};

use super::{
    Control,
    asking_pace::AskingPace,
    bind::{Binds, Wish},
    heartbeat::Heartbeat,
    lane,
    login::NewSession,
    messages::{self, Messages},
    standing::{self, Standing},
};
use crate::{
    events::Event,
    metrics::Metrics,
    session::{Session, keep_lanes},
};

/// How long a client that logged in may take to open its control stream.
const CONTROL_STREAM_DEADLINE: Duration = Duration::from_secs(10);

/// Runs a session to its end.
pub(super) async fn run(control: Control, io: BoxedIo, new: NewSession) {
    let NewSession { session, outbox, guard: _guard } = new;
    let span = info_span!("session", id = %session.id);
    Metrics::count(&control.shared.metrics.sessions);
    async {
        info!(identity = %session.identity.name, machine = %session.machine, agent = %session.agent, "client online");
        control.shared.events.emit(Event::SessionStarted {
            session: session.id,
            identity: session.identity.name.to_string(),
            machine: session.machine.clone(),
            address: session.address,
        });
        let reason = drive(&control, io, &session, outbox).await;
        session.end(if session.is_leaving() { "the client left".to_owned() } else { reason });
        let reason = session.reason().unwrap_or_default();
        info!(%reason, "client gone");
        control.shared.events.emit(Event::SessionEnded { session: session.id, reason });
    }
    .instrument(span)
    .await;
}

/// Runs a session until something ends it; says what.
async fn drive(
    control: &Control,
    io: BoxedIo,
    session: &Arc<Session>,
    outbox: tokio::sync::mpsc::Receiver<ServerMessage>,
) -> String {
    let Lane { opener, mut incoming, driver, activity } =
        tunnel_mux::server(io.compat(), &lane::mux_config(control, session));
    // A task of its own, so that a panic in the multiplexer ends this session and nothing else. Aborting it
    // closes the socket.
    let driver = AbortOnDropHandle::new(control.tasks.spawn(driver));
    let opening = tokio::time::timeout(CONTROL_STREAM_DEADLINE, incoming.accept());
    let opened = tokio::select! {
        opened = opening => opened,
        () = session.ended.cancelled() => return "the server ended it".to_owned(),
    };
    let stream = match opened {
        Ok(Some(stream)) => stream,
        Ok(None) => return "the connection was lost".to_owned(),
        Err(_elapsed) => return "the client opened no control stream".to_owned(),
    };
    let Some(_lane) = session.add_lane(opener, activity.clone()) else { return "ended at once".to_owned() };
    let (read, write) = tokio::io::split(stream);
    let standing = watch::Sender::new(None);
    let timeouts = control.shared.config().timeouts.clone();
    let heartbeat = Heartbeat::new(timeouts.heartbeat, timeouts.dead_after, session.clone(), activity);
    tokio::select! {
        reason = listen(control, session, Messages::new(read), standing.subscribe()) => reason,
        written = messages::write_all(write, outbox) => format!("the control stream broke: {written:?}"),
        silence = heartbeat.watch() => format!("no heartbeat for {} s", silence.as_secs()),
        never = keep_lanes(session, timeouts.lane_idle) => match never {},
        ended = driver => match ended {
            Ok(Ok(())) => "the client closed the connection".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_panic) => "the multiplexer failed".to_owned(),
        },
        () = refuse_streams(incoming) => "the connection was lost".to_owned(),
        reason = standing::watch(control, session, &standing) => reason,
        () = session.ended.cancelled() => "the server ended it".to_owned(),
    }
}

/// Acts on the client's messages until they end.
async fn listen(
    control: &Control,
    session: &Arc<Session>,
    mut messages: Messages<tunnel_mux::Stream>,
    mut standing: watch::Receiver<Option<Standing>>,
) -> String {
    let mut binds = Binds::new(control, session);
    let mut pace = AskingPace::new();
    loop {
        let expiry = binds.next_expiry();
        let message = tokio::select! {
            message = messages.next() => message,
            () = sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => {
                binds.expire();
                continue;
            }
            Ok(()) = standing.changed() => {
                let standing = standing.borrow_and_update().clone();
                standing.iter().for_each(|standing| binds.review(standing));
                continue;
            }
        };
        match message {
            Ok(Some(message)) => {
                session.set_heard();
                match message {
                    ClientMessage::Bind { tunnel, spec, policies, upstream, report_requests, replaces } => {
                        pace.turn().await;
                        binds.bind(tunnel, Wish { spec, policies, upstream, report_requests, replaces });
                    }
                    ClientMessage::Unbind { tunnel } => {
                        pace.turn().await;
                        binds.unbind(tunnel);
                    }
                    ClientMessage::Ping { seq } => session.send(ServerMessage::Pong { seq }),
                    ClientMessage::Pong { seq } => session.pong(seq),
                    // It is with the successor by now, or was until that died and will be back. The names stay, and
                    // there is no answer: this process has visitors who still need the session, and ends it when they
                    // are gone. An older client that leaves for good can't be told from it.
                    ClientMessage::Drain { moved: None | Some(true) }
                        if control.shared.has_successor() || (session.was_sent_on() && binds.serves()) =>
                    {
                        session.set_leaving();
                    }
                    ClientMessage::Drain { .. } => {
                        // Names first, so that no stream is opened after the client has read the answer.
                        binds.release_all();
                        session.set_leaving();
                        session.send(ServerMessage::Drained);
                    }
                    _ => {}
                }
            }
            Ok(None) => return "the client closed its control stream".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return format!("the client sent nonsense: {error}");
            }
            Err(error) => return format!("the connection was lost: {error}"),
        }
    }
}

/// The client opens one stream, and that one only: others are reset by being dropped.
pub(super) async fn refuse_streams(mut incoming: Incoming) {
    while let Some(stream) = incoming.accept().await {
        drop(stream);
    }
}
