//! A request in, an answer out: `ServeDir`, and what it leaves open.

use std::io;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{
            CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_RANGE,
            LAST_MODIFIED, RANGE, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{Html, IntoResponse, Response},
};
use tower_http::services::{ServeDir, fs::DefaultServeDirFallback};
use tracing::debug;

use super::{page, root::Root};

type Files = ServeDir<DefaultServeDirFallback, Root>;

/// Bytes read from a file at a time.
const CHUNK: usize = 64 * 1024;

pub(super) fn router(root: Root) -> Router {
    let files = ServeDir::with_backend("", root).ignore_multi_range_requests(true).with_buf_chunk_size(CHUNK);
    Router::new().fallback(answer).with_state(files)
}

async fn answer(State(files): State<Files>, mut request: Request) -> Response {
    // Would be another host's address in a redirect.
    if request.uri().path().starts_with("//") {
        return error(StatusCode::NOT_FOUND);
    }
    if !has_parts(&files, Head::of(&request)).await {
        request.headers_mut().remove(RANGE);
    }
    match files.clone().try_call(request).await {
        Ok(response) if response.status().is_client_error() => {
            let mut page = error(response.status());
            page.headers_mut().extend(response.headers().clone());
            // Of the body that was there.
            page.headers_mut().remove(CONTENT_LENGTH);
            page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(HTML));
            page
        }
        Ok(response) => {
            let mut response = response.into_response();
            finish(response.headers_mut());
            response
        }
        Err(failure) => error(match failure.kind() {
            io::ErrorKind::NotFound => StatusCode::NOT_FOUND,
            io::ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
            _ => {
                debug!(%failure, "a file can't be shown");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }),
    }
}

/// What of a request decides whether it can be answered with a part of a file.
struct Head {
    uri: Uri,
    /// What follows `bytes=`, if that is the unit; all others are to be ignored (RFC 9110 §14.2).
    range: Option<String>,
    if_range: Option<HeaderValue>,
}

impl Head {
    fn of(request: &Request) -> Self {
        let range = request.headers().get(RANGE).filter(|_| request.method() == Method::GET);
        Self {
            uri: request.uri().clone(),
            range: range.and_then(|range| Some(range.to_str().ok()?.strip_prefix("bytes=")?.to_owned())),
            if_range: request.headers().get(IF_RANGE).cloned(),
        }
    }
}

/// Whether less than the whole is asked for, of the file that the visitor has another part of, if it says which
/// (`If-Range`, RFC 9110 §13.1.5).
async fn has_parts(files: &Files, Head { uri, range, if_range }: Head) -> bool {
    let Some(range) = range else { return false };
    let mut head = Request::new(Body::empty());
    *head.method_mut() = Method::HEAD;
    *head.uri_mut() = uri;
    let Ok(head) = files.clone().try_call(head).await else { return false };
    let field = |name| head.headers().get(name);
    let length = field(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    // The last so many bytes may be more than there are.
    let last = range.strip_prefix('-').and_then(|last| last.parse().ok());
    let is_whole = length.unwrap_or(0) <= last.unwrap_or(0);
    let is_known = |known| field(ETAG) == Some(known) || field(LAST_MODIFIED) == Some(known);
    !is_whole && if_range.as_ref().is_none_or(is_known)
}

/// Browsers ask again each time, which costs little and shows changes at once; and believe the type that is given.
fn finish(headers: &mut HeaderMap) {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("text/")
        && !kind.contains("charset")
        && let Ok(kind) = format!("{kind}; charset=utf-8").parse()
    {
        headers.insert(CONTENT_TYPE, kind);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

const HTML: &str = "text/html; charset=utf-8";

fn error(status: StatusCode) -> Response {
    let mut response = (status, Html(page::message(&status.to_string()))).into_response();
    finish(response.headers_mut());
    let nothing = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, nothing);
    response
}
