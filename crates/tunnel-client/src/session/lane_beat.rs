//! The heartbeat of a further lane, on a stream of its own: one dead lane of a living session must not keep its
//! visitors waiting for nothing.

use tokio::sync::mpsc;
use tunnel_mux::{Activity, Opener};
use tunnel_protocol::{ClientMessage, ServerMessage};

use super::{
    control::{self, Inbox, OUTBOX},
    heartbeat::{self, Heard, Pace},
};

/// Beats on a lane until it is dead; says how that was noticed.
pub(crate) async fn watch(pace: Pace, opener: Opener, activity: Activity) -> String {
    let stream = match opener.open().await {
        Ok(stream) => stream,
        Err(error) => return error.to_string(),
    };
    let (reader, writer) = tokio::io::split(stream);
    let mut inbox = Inbox::new(reader);
    let (outbox, outgoing) = mpsc::channel(OUTBOX);
    let (heard, pongs) = Heard::new();
    let receive = async {
        loop {
            match inbox.next().await {
                Ok(ServerMessage::Pong { seq }) => {
                    heard.message();
                    heard.pong(seq);
                }
                Ok(_) => heard.message(),
                Err(error) => return error,
            }
        }
    };
    let ping = |seq| {
        let _ = outbox.try_send(ClientMessage::Ping { seq });
    };
    // The way to the server is watched on the session's first lane: if that one is dead, this one ends with it.
    let look = || (activity.last_read(), None);
    tokio::select! {
        end = receive => end.to_string(),
        end = control::send(writer, outgoing) => end.to_string(),
        silence = heartbeat::run(pace, look, &heard, pongs, std::future::pending, ping, |_rtt| {}) => silence.to_string(),
    }
}
