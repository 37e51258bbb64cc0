//! The dashboard: a page and its files, out of the binary.
//!
//! The page is the same for everybody and holds nothing; what it shows it asks the API for, with the key of whoever
//! signed in. So there is nothing in it to be framed, cached or read by anybody else.

mod page;

use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header::CONTENT_TYPE};

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Every file the page needs: its name, its type, and what is in it.
const FILES: &[(&str, &str, &str)] = &[
    ("activity.js", SCRIPT, include_str!("assets/activity.js")),
    ("api.js", SCRIPT, include_str!("assets/api.js")),
    ("app.js", SCRIPT, include_str!("assets/app.js")),
    ("clients.js", SCRIPT, include_str!("assets/clients.js")),
    ("dom.js", SCRIPT, include_str!("assets/dom.js")),
    ("format.js", SCRIPT, include_str!("assets/format.js")),
    ("history.js", SCRIPT, include_str!("assets/history.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
    ("overview.js", SCRIPT, include_str!("assets/overview.js")),
    ("plot.js", SCRIPT, include_str!("assets/plot.js")),
    ("requests.js", SCRIPT, include_str!("assets/requests.js")),
    ("style.css", "text/css; charset=utf-8", include_str!("assets/style.css")),
    ("theme.js", SCRIPT, include_str!("assets/theme.js")),
    ("tokens.js", SCRIPT, include_str!("assets/tokens.js")),
    ("tunnels.js", SCRIPT, include_str!("assets/tunnels.js")),
];

/// The page and its files.
pub(crate) fn routes() -> Router {
    Router::new()
        .route("/", get(async || page::page()))
        .route("/favicon.ico", get(async || file("icon.svg")))
        .route("/assets/{name}", get(async |Path(name): Path<String>| file(&name)))
}

fn file(name: &str) -> Response {
    match FILES.iter().find(|(file, ..)| *file == name) {
        Some((_, kind, text)) => ([(CONTENT_TYPE, *kind)], *text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
