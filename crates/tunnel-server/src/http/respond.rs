//! The one place that makes an answer of what went wrong.
//!
//! Each carries its reason's name in `Tunnel-Error`, so that programs can tell our errors from an upstream's, and
//! a body in the form the visitor prefers.

use std::sync::Arc;

use ::http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use bytes::Bytes;
use tunnel_protocol::{Code, RequestId};
use tunnel_router::Hostname;

use super::{gate::Refusal, headers::TUNNEL_ERROR, pages};
use crate::{dispatch::DispatchError, endpoint::Absent};

/// The methods that are carried: all that have a name, but not CONNECT.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";

/// Why a visitor gets a page of ours, and what is known about it.
#[derive(Debug)]
pub(super) struct Failure {
    code: Code,
    /// Which rule was broken, or what broke: never the visitor's or the upstream's own words.
    detail: Option<String>,
    host: Option<Hostname>,
    upstream: Option<Arc<str>>,
}

impl Failure {
    pub(super) fn new(code: Code) -> Self {
        Self { code, detail: None, host: None, upstream: None }
    }

    /// Says more about it.
    pub(super) fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Says for which host the request was.
    pub(super) fn at(mut self, host: Hostname) -> Self {
        self.host = Some(host);
        self
    }

    /// Says where the client forwards to.
    pub(super) fn through(mut self, upstream: Option<Arc<str>>) -> Self {
        self.upstream = upstream;
        self
    }

    /// The reason.
    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// More about it.
    pub(super) fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { detail: refusal.error.map(|error| error.to_string()), ..Self::new(refusal.code) }
    }
}

impl From<DispatchError> for Failure {
    fn from(error: DispatchError) -> Self {
        let code = match &error {
            DispatchError::Absent(Absent::Gone) => Code::TunnelNotFound,
            DispatchError::Absent(Absent::Away | Absent::Crowded) => Code::TunnelAway,
            DispatchError::Full => Code::TooManyVisitors,
            // The client is leaving, or was just replaced.
            DispatchError::Refused(Code::Draining | Code::NoSuchTunnel) => Code::TunnelAway,
            DispatchError::Refused(
                code @ (Code::UpstreamRefused
                | Code::UpstreamUnreachable
                | Code::UpstreamTimeout
                | Code::UpstreamTls
                | Code::UpstreamBroken
                | Code::UpstreamMalformed
                | Code::ClientBusy),
            ) => *code,
            DispatchError::Refused(_) | DispatchError::Broken(_) => Code::UpstreamBroken,
            // Some of it may have happened: nothing that invites to send it again.
            DispatchError::LaneLost => Code::UpstreamBroken,
        };
        Self::new(code).because(error.to_string())
    }
}

/// The status that stands for a reason.
fn status(code: Code) -> StatusCode {
    match code {
        Code::TunnelNotFound => StatusCode::NOT_FOUND,
        Code::TunnelAway | Code::TooManyVisitors | Code::ClientBusy => StatusCode::SERVICE_UNAVAILABLE,
        Code::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        Code::UpstreamRefused
        | Code::UpstreamUnreachable
        | Code::UpstreamTls
        | Code::UpstreamBroken
        | Code::UpstreamMalformed => StatusCode::BAD_GATEWAY,
        Code::BadRequest => StatusCode::BAD_REQUEST,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Code::Misdirected => StatusCode::MISDIRECTED_REQUEST,
        Code::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Code::VersionNotSupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// After how many seconds it is worth trying again.
fn retry_after(code: Code) -> Option<HeaderValue> {
    match code {
        Code::TunnelAway => Some(HeaderValue::from_static("5")),
        Code::TooManyVisitors | Code::ClientBusy => Some(HeaderValue::from_static("1")),
        _ => None,
    }
}

/// What of a request decides how a page looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    id: RequestId,
    form: Form,
    is_head: bool,
}

/// What kind of body the visitor prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Html,
    Json,
    Text,
}

impl Form {
    /// Browsers name HTML, programs JSON, and whoever says nothing is likely a person at a terminal.
    fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if accept.contains("text/html") {
            Self::Html
        } else if accept.contains("application/json") || accept.contains("+json") {
            Self::Json
        } else {
            Self::Text
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
        })
    }
}

impl Asked {
    pub(super) fn new<B>(id: RequestId, request: &Request<B>) -> Self {
        Self { id, form: Form::of(request.headers()), is_head: request.method() == Method::HEAD }
    }

    /// The answer that says what went wrong.
    pub(super) fn respond(self, failure: &Failure) -> Response<Bytes> {
        let page = pages::Page {
            code: failure.code,
            detail: failure.detail.as_deref(),
            host: failure.host.as_ref().map(Hostname::as_str),
            upstream: failure.upstream.as_deref().filter(|upstream| !upstream.is_empty()),
            request: self.id,
            status: status(failure.code),
        };
        let body = match self.form {
            _ if self.is_head => String::new(),
            Form::Html => page.html(),
            Form::Json => page.json(),
            Form::Text => page.text(),
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = page.status;
        let headers = response.headers_mut();
        headers.insert(TUNNEL_ERROR, HeaderValue::from_static(failure.code.name()));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_TYPE, self.form.content_type());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.form == Form::Html {
            let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        }
        if let Some(seconds) = retry_after(failure.code) {
            headers.insert(RETRY_AFTER, seconds);
        }
        if failure.code == Code::MethodNotAllowed {
            headers.insert(ALLOW, HeaderValue::from_static(METHODS));
        }
        response
    }
}

#[cfg(test)]
mod tests;
