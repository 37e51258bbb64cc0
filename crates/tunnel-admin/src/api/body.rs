//! A request's body as JSON; what isn't is answered as every other problem is.

use axum::{
    Json,
    extract::{FromRequest, Request, rejection::JsonRejection},
};
use http::StatusCode;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// The body, read.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(problem(&rejection)),
        }
    }
}

fn problem(rejection: &JsonRejection) -> Problem {
    let problem = Problem::new(rejection.status(), "bad-body", "the request's body can't be read")
        .why(rejection.body_text());
    match rejection.status() {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => problem.next("send JSON, with Content-Type: application/json"),
        _ => problem.next("see /api/v1/openapi.json for what is taken"),
    }
}
