//! What the API answers when it can't do what was asked: one shape, and one place that maps to it.

use std::{error::Error, fmt};

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize};

use crate::tokens::TokensError;

/// A problem as in RFC 9457, with a code for programs and the next step for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The kind of problem, for programs: `not-found`, `not-signed-in`, …
    pub code: String,
    /// What happened.
    pub title: String,
    /// Why; may be empty.
    #[serde(default)]
    pub detail: String,
    /// What to do next; may be empty.
    #[serde(default)]
    pub next: String,
}

impl Problem {
    /// The code of a name that no token can have.
    pub const MISNAMED: &'static str = "misnamed";

    pub(crate) fn new(status: StatusCode, code: &str, title: impl Into<String>) -> Self {
        Self {
            status: status.as_u16(),
            code: code.to_owned(),
            title: title.into(),
            detail: String::new(),
            next: String::new(),
        }
    }

    pub(crate) fn why(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", what)
    }
}

impl fmt::Display for Problem {
    /// One line: what happened, why, and what to do next.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        if !self.next.is_empty() {
            write!(f, "; {}", self.next)?;
        }
        Ok(())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

impl From<TokensError> for Problem {
    fn from(error: TokensError) -> Self {
        let what = error.to_string();
        match error {
            TokensError::Unknown(_) => Self::not_found(what),
            TokensError::Exists(_) => Self::new(StatusCode::CONFLICT, "exists", what),
            TokensError::Misnamed(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, Self::MISNAMED, what),
            TokensError::Invalid(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", what),
            TokensError::NotKept => Self::new(StatusCode::CONFLICT, "not-kept", what)
                .next("start the server without --auth none to have tokens"),
            TokensError::Store(source) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store-failed", what)
                .why(causes(&*source))
                .next("see the server's log, and whether the disk is full"),
        }
    }
}

/// An error with what caused it, in one line.
fn causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
