//! The one place that makes an answer of what went wrong.
//!
//! Each carries its reason's name in `Tunnel-Error`, so that programs can tell our errors from an upstream's, and
//! a body in the form the visitor prefers.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use ::http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use bytes::Bytes;
use tunnel_protocol::{Code, RequestId};
use tunnel_router::Hostname;

use super::{facts::Refusal, grpc, headers::TUNNEL_ERROR, pages};
use crate::{calendar::Month, config::Config, dispatch::DispatchError, endpoint::Absent};

/// The methods that are carried: all that have a name, but not CONNECT.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";

/// What a page of ours may do in a browser: show itself, and send its one form back to its own host.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// Why a visitor gets a page of ours, and what is known about it.
#[derive(Debug)]
pub(super) struct Failure {
    code: Code,
    /// Which rule was broken, or what broke: never the visitor's or the upstream's own words.
    detail: Option<String>,
    host: Option<Hostname>,
    upstream: Option<Arc<str>>,
    /// When it is worth trying again, if that is known.
    wait: Option<Duration>,
    /// The status, if it isn't that of the reason.
    status: Option<StatusCode>,
    /// What is behind this page, for who is to press a button first.
    behind: Option<String>,
}

impl Failure {
    pub(super) fn new(code: Code) -> Self {
        Self { code, detail: None, host: None, upstream: None, wait: None, status: None, behind: None }
    }

    /// Says when it is worth trying again.
    pub(super) fn after(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Says which path this page stands before.
    pub(super) fn before(mut self, path: String) -> Self {
        self.behind = Some(path);
        self
    }

    /// Keeps the upstream's status.
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
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
            DispatchError::Absent(Absent::Away | Absent::Crowded) | DispatchError::PoliciesChanged => {
                Code::TunnelAway
            }
            DispatchError::Full => Code::TooManyVisitors,
            DispatchError::Spent(_) => Code::QuotaUsed,
            DispatchError::Denied(denied) => return Self::from(*denied),
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
            DispatchError::Late(_) => Code::UpstreamTimeout,
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
        Code::TunnelAway
        | Code::TooManyVisitors
        | Code::ClientBusy
        | Code::TunnelPaused
        | Code::Overloaded
        | Code::QuotaUsed => StatusCode::SERVICE_UNAVAILABLE,
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
        Code::AuthRequired => StatusCode::UNAUTHORIZED,
        Code::AddressNotAllowed | Code::UpstreamHostRefused | Code::FirstVisit => StatusCode::FORBIDDEN,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Code::VersionNotSupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// After how many seconds it is worth trying again.
fn retry_after(failure: &Failure) -> Option<HeaderValue> {
    if let Some(wait) = failure.wait {
        // Rounded up: earlier would be in vain.
        return Some(HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)));
    }
    match failure.code {
        Code::TunnelAway | Code::Overloaded => Some(HeaderValue::from_static("5")),
        Code::TooManyVisitors | Code::ClientBusy => Some(HeaderValue::from_static("1")),
        Code::QuotaUsed => {
            let now = SystemTime::now();
            let left = Month::of(now).end().duration_since(now).unwrap_or_default();
            Some(HeaderValue::from(left.as_secs() + 1))
        }
        _ => None,
    }
}

/// Asks for a login. Browsers show the realm, and send the login to all of this host (RFC 7617 §2).
fn challenge(host: Option<&Hostname>) -> HeaderValue {
    let realm = host.map_or("tunnel", Hostname::as_str);
    let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
    HeaderValue::try_from(challenge)
        .unwrap_or(HeaderValue::from_static("Basic realm=\"tunnel\", charset=\"UTF-8\""))
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
    /// No body: gRPC has its errors in fields.
    Grpc,
}

impl Form {
    /// Browsers name HTML, programs JSON, and whoever says nothing is likely a person at a terminal.
    fn of(headers: &HeaderMap) -> Self {
        if grpc::is_grpc(headers) {
            return Self::Grpc;
        }
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
            Self::Grpc => "application/grpc",
        })
    }
}

impl Asked {
    pub(super) fn new<B>(id: RequestId, request: &Request<B>) -> Self {
        Self { id, form: Form::of(request.headers()), is_head: request.method() == Method::HEAD }
    }

    /// The answer that says what went wrong, on a server whose settings are these.
    pub(super) fn respond(self, failure: &Failure, config: &Config) -> Response<Bytes> {
        let page = pages::Page {
            code: failure.code,
            detail: failure.detail.as_deref(),
            host: failure.host.as_ref().map(Hostname::as_str),
            upstream: failure.upstream.as_deref().filter(|upstream| !upstream.is_empty()),
            server: config.domain.as_str(),
            behind: failure.behind.as_deref(),
            contact: config.abuse_contact.as_ref(),
            request: self.id,
            status: failure.status.unwrap_or_else(|| status(failure.code)),
        };
        let body = match self.form {
            _ if self.is_head => String::new(),
            Form::Html => page.html(),
            Form::Json => page.json(),
            Form::Text => page.text(),
            Form::Grpc => String::new(),
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = page.status;
        let headers = response.headers_mut();
        headers.insert(TUNNEL_ERROR, HeaderValue::from_static(failure.code.name()));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_TYPE, self.form.content_type());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.form == Form::Html {
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        }
        if let Some(seconds) = retry_after(failure) {
            headers.insert(RETRY_AFTER, seconds);
        }
        if failure.code == Code::AuthRequired {
            headers.insert(WWW_AUTHENTICATE, challenge(failure.host.as_ref()));
        }
        if failure.code == Code::MethodNotAllowed {
            headers.insert(ALLOW, HeaderValue::from_static(METHODS));
        }
        if self.form == Form::Grpc {
            grpc::set_status(headers, failure.code, &page.line());
            *response.status_mut() = StatusCode::OK;
        }
        response
    }
}

#[cfg(test)]
mod tests;
