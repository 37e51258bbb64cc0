//! The door for clients. The loop does nothing but hand sockets over: whatever a stranger does or doesn't do, it
//! happens in that stranger's own task.

use std::{net::SocketAddr, sync::Arc};

use tracing::{Instrument, debug, info_span};
use tunnel_io::BoxedIo;
use tunnel_protocol::Code;
use tunnel_transport::{ControlTls, Listener, reset, tune_lane};

use super::{
    Control, lane,
    login::{self, Admitted, Asked, Entry},
    session,
};
use crate::{events::Event, metrics::Metrics, throttle::StrangerPermit};

/// Takes control connections until the server drains, but for while a successor takes them.
pub(crate) async fn accept(control: Control, listener: Listener, tls: Arc<ControlTls>) {
    loop {
        let (socket, address) = tokio::select! {
            // Who comes from then on is the successor's.
            biased;
            () = control.shared.draining.cancelled() => return,
            () = control.shared.successor(true) => {
                tokio::select! {
                    // It has died, and clients come here again.
                    () = control.shared.successor(false) => continue,
                    () = control.shared.draining.cancelled() => return,
                }
            }
            accepted = listener.accept() => accepted,
        };
        Metrics::count(&control.shared.metrics.control_connections);
        let Some(permit) = admit(&control, address) else {
            // No words for it: writing them would cost more than the connection.
            reset(socket);
            continue;
        };
        tune_lane(&socket);
        let (task_control, tls) = (control.clone(), tls.clone());
        let metrics = control.shared.metrics.clone();
        let plaintext = matches!(*tls, ControlTls::Plaintext);
        let handling = async move {
            let handshake = async move {
                let io = tls.accept(socket).await.inspect_err(|error| {
                    Metrics::count(&metrics.control_failures);
                    debug!(%error, "no TLS");
                });
                let io = io.ok()?;
                Some((io, if plaintext { Asked::Challenge } else { Asked::Token }))
            };
            handle(task_control, handshake, address, permit).await;
        };
        control.tasks.spawn(handling.instrument(info_span!("control", addr = %address)));
    }
}

/// Serves one connection that came some other way (an embedder's own transport), which must be confidential.
pub(crate) async fn serve(control: Control, io: BoxedIo, address: SocketAddr) {
    Metrics::count(&control.shared.metrics.control_connections);
    let Some(permit) = admit(&control, address) else { return };
    handle(control, async { Some((io, Asked::Token)) }, address, permit).await;
}

/// A place for a connection of which nothing is known but its address.
fn admit(control: &Control, address: SocketAddr) -> Option<StrangerPermit> {
    // The address first: who comes too fast takes nobody's place.
    let is_in_time = control.shared.addresses.log_in(address.ip()).is_ok();
    let permit = is_in_time.then(|| control.throttle.admit(address.ip())).flatten();
    if permit.is_none() {
        control.shared.metrics.refused(Code::ServerBusy);
        debug!(%address, is_in_time, "too many connections from one network that have not logged in");
    }
    permit
}

/// A connection's whole life.
async fn handle(
    control: Control,
    handshake: impl Future<Output = Option<(BoxedIo, Asked)>>,
    address: SocketAddr,
    permit: StrangerPermit,
) {
    // One deadline for TLS and login together: a stranger gets no second one for reaching the next step.
    let login = async {
        let (io, asked) = handshake.await?;
        login::login(&control, io, address, asked).await
    };
    let patience = control.shared.config().timeouts.login;
    let admitted = tokio::select! {
        admitted = tokio::time::timeout(patience, login) => admitted,
        () = permit.evicted() => {
            control.shared.metrics.refused(Code::ServerBusy);
            return debug!("made room for another stranger");
        }
        () = control.shared.stopping.cancelled() => return,
    };
    drop(permit);
    match admitted {
        Ok(Some(Admitted { io, entry: Entry::Session(session) })) => session::run(control, io, session).await,
        Ok(Some(Admitted { io, entry: Entry::Lane(session) })) => lane::run(&control, io, &session).await,
        // Told or gone.
        Ok(None) => {}
        Err(_elapsed) => {
            debug!("no login in time");
            control.shared.metrics.refused(Code::RequestTimeout);
            control.shared.events.emit(Event::LoginRefused { address, code: Code::RequestTimeout.name() });
        }
    }
}
