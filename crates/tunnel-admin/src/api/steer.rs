//! What is done to sessions, tunnels and the server.

use axum::{
    Extension,
    extract::{Path, State},
};
use http::StatusCode;
use tunnel_server::{NoSuchSession, NoSuchTunnel};

use super::body::Body;
use crate::{
    model::{CloseTunnel, Kick, NamedTunnel},
    problem::Problem,
    server::Site,
    tokens::{Actor, Deed},
};

type Done = Result<StatusCode, Problem>;

pub(super) async fn kick(
    State(site): State<Site>,
    Extension(by): Extension<Actor>,
    Path(id): Path<String>,
    Body(Kick { reason }): Body<Kick>,
) -> Done {
    let session = id.parse().map_err(|_| Problem::not_found(format!("there is no session {id}")))?;
    site.engine.end_session(session, &reason)?;
    site.note(by, Deed { what: "session-kicked", about: id, detail: reason }).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn close(
    State(site): State<Site>,
    Extension(by): Extension<Actor>,
    Body(CloseTunnel { url, reason }): Body<CloseTunnel>,
) -> Done {
    site.engine.close_tunnel(&url, &reason)?;
    site.note(by, Deed { what: "tunnel-closed", about: url, detail: reason }).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(
    State(site): State<Site>,
    Extension(by): Extension<Actor>,
    Body(NamedTunnel { url }): Body<NamedTunnel>,
) -> Done {
    site.engine.pause_tunnel(&url, true)?;
    site.note(by, Deed { what: "tunnel-paused", about: url, detail: String::new() }).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn resume(
    State(site): State<Site>,
    Extension(by): Extension<Actor>,
    Body(NamedTunnel { url }): Body<NamedTunnel>,
) -> Done {
    site.engine.pause_tunnel(&url, false)?;
    site.note(by, Deed { what: "tunnel-resumed", about: url, detail: String::new() }).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn drain(State(site): State<Site>, Extension(by): Extension<Actor>) -> Done {
    site.note(by, Deed { what: "server-drained", about: String::new(), detail: String::new() }).await;
    site.engine.drain();
    Ok(StatusCode::ACCEPTED)
}

impl From<NoSuchSession> for Problem {
    fn from(error: NoSuchSession) -> Self {
        Self::not_found(error.to_string()).next("list them: tunnel ps")
    }
}

impl From<NoSuchTunnel> for Problem {
    fn from(error: NoSuchTunnel) -> Self {
        Self::not_found(error.to_string()).next("list them: tunnel ps")
    }
}
