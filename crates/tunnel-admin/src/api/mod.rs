//! The API: what can be asked and done, one function for each.

mod look;
mod steer;

mod keep;

mod enter;
mod events;
mod health;

mod body;
mod document;

pub(crate) use keep::ask;

use std::time::Duration;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use http::{StatusCode, Uri};

use crate::{problem::Problem, server::Site};

/// The longest body of a request, in bytes.
const LONGEST_BODY: usize = 64 * 1024;
/// For one answer to begin.
const PATIENCE: Duration = Duration::from_secs(30);

/// All there is, by path.
fn table() -> Vec<(&'static str, MethodRouter<Site>)> {
    use axum::routing::{delete, get, post, put};
    vec![
        ("/api/v1/status", get(look::status)),
        ("/api/v1/sessions", get(look::sessions)),
        ("/api/v1/sessions/{id}/kick", post(steer::kick)),
        ("/api/v1/tunnels", get(look::tunnels)),
        ("/api/v1/tunnels/close", post(steer::close)),
        ("/api/v1/tunnels/pause", post(steer::pause)),
        ("/api/v1/tunnels/resume", post(steer::resume)),
        ("/api/v1/requests", get(look::requests)),
        ("/api/v1/visitors", get(look::visitors)),
        ("/api/v1/history", get(look::history)),
        ("/api/v1/errors", get(look::errors)),
        ("/api/v1/events", get(events::events)),
        ("/api/v1/drain", post(steer::drain)),
        ("/api/v1/tokens", get(keep::tokens).post(keep::create)),
        ("/api/v1/tokens/{name}", get(keep::token).delete(keep::revoke)),
        ("/api/v1/tokens/{name}/rights", put(keep::set_rights).patch(keep::change_rights)),
        ("/api/v1/tokens/{name}/rotate", post(keep::rotate)),
        ("/api/v1/reservations", get(keep::reservations).post(keep::reserve)),
        ("/api/v1/reservations/{name}", delete(keep::release)),
        ("/api/v1/usage", get(keep::usage)),
        ("/api/v1/audit", get(keep::audit)),
        ("/api/v1/sign-in", get(enter::methods).post(enter::enter)),
        ("/api/v1/sign-out", post(enter::leave)),
        ("/api/v1/sign-in-links", post(enter::link)),
        ("/api/v1/openapi.json", get(document::document)),
        ("/metrics", get(health::metrics)),
        ("/healthz", get(health::alive)),
        ("/readyz", get(health::ready)),
    ]
}

/// The API, ready to be served. Whoever serves it says who asks, by an [`Actor`](crate::Actor) in each request.
pub(crate) fn routes(site: Site) -> Router {
    let router = table().into_iter().fold(Router::new(), |router, (path, method)| router.route(path, method));
    router
        .fallback(async |uri: Uri| Problem::not_found(format!("there is no {}", uri.path())))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "this can't be done with that method",
            )
        })
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(middleware::from_fn(in_time))
        .with_state(site)
}

/// A body that doesn't come, or a disk that doesn't answer, holds a connection for so long and no longer.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "the request took too long").into_response()
        }
    }
}
