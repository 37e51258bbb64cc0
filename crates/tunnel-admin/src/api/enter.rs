//! Signing in and out of the dashboard.

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::body::Body;
use crate::{
    door::guard::{COOKIE, Peer, cookie},
    model::{Credentials, SignInLink, SignInMethods, SignedIn},
    problem::Problem,
    server::{Site, WebSite},
    sign_in::{Denied, Shown},
    tokens::{Actor, Deed},
};

pub(super) async fn methods(State(site): State<Site>) -> Result<Json<SignInMethods>, Problem> {
    let web = web(&site)?;
    let methods = web.sign_in.methods().into_iter().map(str::to_owned).collect();
    Ok(Json(SignInMethods { methods, domain: site.about.domain.clone() }))
}

pub(super) async fn enter(
    State(site): State<Site>,
    Extension(Peer(address)): Extension<Peer>,
    Body(credentials): Body<Credentials>,
) -> Result<Response, Problem> {
    let (shown, how) = match credentials {
        Credentials::Password(password) => (Shown::Password(password), "by password"),
        Credentials::Token(token) => (Shown::Token(token), "by token"),
        Credentials::Link(link) => (Shown::Link(link), "by link"),
    };
    let by = Actor::Dashboard { address };
    let entered = web(&site)?.sign_in.enter(address, shown).await;
    // What isn't looked at isn't noted: there is no bound on how often it comes.
    if !matches!(entered, Err(Denied::TooMany(_))) {
        let what = if entered.is_ok() { "signed-in" } else { "sign-in-refused" };
        site.note(by, Deed { what, about: String::new(), detail: how.to_owned() }).await;
    }
    let entry = entered?;
    let set = format!(
        "{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={}",
        entry.cookie,
        entry.life.as_secs()
    );
    let signed_in = Json(SignedIn { key: entry.key, until: entry.until });
    Ok(with_cookie(signed_in.into_response(), &set))
}

pub(super) async fn leave(
    State(site): State<Site>,
    Extension(by): Extension<Actor>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(cookie) = cookie(&headers) {
        web(&site)?.sign_in.leave(cookie);
        site.note(by, Deed { what: "signed-out", about: String::new(), detail: String::new() }).await;
    }
    let set = format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    Ok(with_cookie(StatusCode::NO_CONTENT.into_response(), &set))
}

/// Only the socket gives links: it is what trust begins with.
pub(super) async fn link(
    State(site): State<Site>,
    Extension(by): Extension<Actor>,
) -> Result<(StatusCode, Json<SignInLink>), Problem> {
    if !matches!(by, Actor::Socket { .. }) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "socket-only", "only the admin socket gives links")
            .next("run `tunnel dashboard` on the server"));
    }
    let web = web(&site)?;
    let link = web.sign_in.new_link();
    // After the `#`, so that it is in no log and no `Referer`, and only a script can use it up.
    let answer = SignInLink { url: format!("{}/#sign-in={}", web.url, link.secret), until: link.until };
    Ok((StatusCode::CREATED, Json(answer)))
}

fn web(site: &Site) -> Result<&WebSite, Problem> {
    site.web.as_ref().ok_or_else(|| {
        Problem::new(StatusCode::CONFLICT, "no-port", "this server has no admin port, and so no dashboard")
            .next("start it with --admin-port 9090")
    })
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    let value = HeaderValue::from_str(cookie).expect("invariant: base64 and fixed words");
    response.headers_mut().insert(header::SET_COOKIE, value);
    response
}
