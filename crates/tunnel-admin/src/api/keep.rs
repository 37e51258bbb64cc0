//! Tokens, reservations, usage and the audit log: asked of whatever keeps them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
};
use http::StatusCode;
use serde::Deserialize;
use tracing::error;

use super::body::Body;
use crate::{
    model::{
        AuditList, AuditPage, IssuedToken, NewToken, Reservation, ReservationList, RightsChanges, Rotation,
        Token, TokenInFull, TokenList, TokenRights, UsageList,
    },
    problem::Problem,
    server::Site,
    tokens::{Actor, Tokens, TokensError},
};

type Answer<T> = Result<Json<T>, Problem>;

pub(super) async fn tokens(State(site): State<Site>) -> Answer<TokenList> {
    let mut tokens = ask(&site, |keeper| keeper.tokens()).await?;
    let mut online = HashMap::<_, usize>::new();
    for session in site.engine.snapshot().sessions {
        *online.entry(session.token.to_string()).or_default() += 1;
    }
    for token in &mut tokens {
        token.sessions = online.get(&token.id).copied().unwrap_or_default();
    }
    Ok(Json(TokenList { tokens }))
}

pub(super) async fn token(State(site): State<Site>, Path(name): Path<String>) -> Answer<TokenInFull> {
    let mut found = ask(&site, move |keeper| keeper.token(&name)).await?;
    let online = site.engine.snapshot().sessions;
    found.token.sessions =
        online.iter().filter(|session| session.token.to_string() == found.token.id).count();
    Ok(Json(found))
}

pub(super) async fn create(
    State(site): State<Site>,
    Extension(by): Extension<Actor>,
    Body(new): Body<NewToken>,
) -> Result<(StatusCode, Json<IssuedToken>), Problem> {
    let issued = ask(&site, move |keeper| keeper.create_token(&by, &new)).await?;
    Ok((StatusCode::CREATED, Json(issued)))
}

pub(super) async fn set_rights(
    State(site): State<Site>,
    Extension(by): Extension<Actor>,
    Path(name): Path<String>,
    Body(rights): Body<TokenRights>,
) -> Answer<Token> {
    Ok(Json(ask(&site, move |keeper| keeper.set_rights(&by, &name, &rights)).await?))
}

pub(super) async fn change_rights(
    State(site): State<Site>,
    Extension(by): Extension<Actor>,
    Path(name): Path<String>,
    Body(changes): Body<RightsChanges>,
) -> Answer<Token> {
    Ok(Json(ask(&site, move |keeper| keeper.change_rights(&by, &name, &changes)).await?))
}

pub(super) async fn revoke(
    State(site): State<Site>,
    Extension(by): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    ask(&site, move |keeper| keeper.revoke_token(&by, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn rotate(
    State(site): State<Site>,
    Extension(by): Extension<Actor>,
    Path(name): Path<String>,
    Body(Rotation { grace_s }): Body<Rotation>,
) -> Answer<IssuedToken> {
    let grace = Duration::from_secs(grace_s.into());
    Ok(Json(ask(&site, move |keeper| keeper.rotate_token(&by, &name, grace)).await?))
}

pub(super) async fn reservations(State(site): State<Site>) -> Answer<ReservationList> {
    let reservations = ask(&site, |keeper| keeper.reservations()).await?;
    Ok(Json(ReservationList { reservations }))
}

pub(super) async fn reserve(
    State(site): State<Site>,
    Extension(by): Extension<Actor>,
    Body(reservation): Body<Reservation>,
) -> Result<StatusCode, Problem> {
    ask(&site, move |keeper| keeper.reserve(&by, &reservation)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn release(
    State(site): State<Site>,
    Extension(by): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    ask(&site, move |keeper| keeper.release(&by, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which month's traffic.
#[derive(Debug, Deserialize)]
pub(super) struct Month {
    month: Option<String>,
}

pub(super) async fn usage(
    State(site): State<Site>,
    Query(Month { month }): Query<Month>,
) -> Answer<UsageList> {
    let usage = ask(&site, move |keeper| keeper.usage(month.as_deref())).await?;
    Ok(Json(UsageList { usage }))
}

pub(super) async fn audit(State(site): State<Site>, Query(page): Query<AuditPage>) -> Answer<AuditList> {
    let limit = page.limit.unwrap_or(AuditPage::USUAL).clamp(1, AuditPage::MOST);
    let page = AuditPage { limit: Some(limit), ..page };
    let entries = ask(&site, move |keeper| keeper.audit(&page)).await?;
    Ok(Json(AuditList { entries }))
}

/// Asks whatever keeps the tokens, where waiting for a disk holds nobody up.
pub(crate) async fn ask<T: Send + 'static>(
    site: &Site,
    question: impl FnOnce(&dyn Tokens) -> Result<T, TokensError> + Send + 'static,
) -> Result<T, Problem> {
    let keeper: Arc<dyn Tokens> = site.tokens.clone();
    let answer = tokio::task::spawn_blocking(move || question(&*keeper)).await;
    match answer {
        Ok(answer) => {
            if let Err(TokensError::Store(error)) = &answer {
                error!(%error, "the store failed");
            }
            Ok(answer?)
        }
        // It panicked, or the process is about to end.
        Err(error) => Err(TokensError::Store(error.into()).into()),
    }
}
