//! What supervisors, load balancers and Prometheus ask.

use axum::{extract::State, response::IntoResponse};
use http::{StatusCode, header::CONTENT_TYPE};

use crate::{metrics, server::Site};

/// The process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Whether visitors and clients are taken: no more once it drains.
pub(super) async fn ready(State(site): State<Site>) -> impl IntoResponse {
    match site.engine.is_draining() {
        false => (StatusCode::OK, "ready\n"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

pub(super) async fn metrics(State(site): State<Site>) -> impl IntoResponse {
    let text = metrics::text(&site.about, &site.engine.totals(), &site.engine.tunnel_counts());
    ([(CONTENT_TYPE, metrics::KIND)], text)
}
