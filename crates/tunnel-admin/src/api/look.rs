//! How things stand, and how they were.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Query, State},
};
use serde::{Deserialize, Serialize};

use crate::{
    live::{Codes, Range, Series},
    model::{RequestList, Session, SessionList, Status, Tunnel, TunnelList, VisitorList},
    server::Site,
};

/// Rows given if nobody says how many, and at most.
const MANY: usize = 10_000;

/// Which rows of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Page {
    /// Only those that have this somewhere.
    q: String,
    /// Only the tunnel at this very address.
    url: Option<String>,
    limit: Option<usize>,
    offset: usize,
}

impl Page {
    fn has(&self, texts: &[&str]) -> bool {
        let needle = self.q.to_lowercase();
        needle.is_empty() || texts.iter().any(|text| text.to_lowercase().contains(&needle))
    }

    fn cut<T>(&self, rows: Vec<T>) -> (usize, impl Iterator<Item = T>) {
        (rows.len(), rows.into_iter().skip(self.offset).take(self.limit.unwrap_or(MANY).min(MANY)))
    }
}

pub(super) async fn status(State(site): State<Site>) -> Json<Status> {
    Json(Status::of(&site))
}

pub(super) async fn sessions(State(site): State<Site>, Query(page): Query<Page>) -> Json<SessionList> {
    let snapshot = site.engine.snapshot();
    let mut tunnels = HashMap::<_, usize>::new();
    for member in snapshot.tunnels.iter().flat_map(|tunnel| &tunnel.members) {
        *tunnels.entry(member.session).or_default() += 1;
    }
    let mut found: Vec<_> = snapshot
        .sessions
        .iter()
        .filter(|info| page.has(&[&info.identity, &info.machine, &info.agent, &info.address.to_string()]))
        .collect();
    found.sort_by_key(|info| std::cmp::Reverse(info.since));
    let (total, found) = page.cut(found);
    let sessions = found.map(|info| Session::of(info, tunnels.get(&info.id).copied().unwrap_or_default()));
    Json(SessionList { total, sessions: sessions.collect() })
}

pub(super) async fn tunnels(State(site): State<Site>, Query(page): Query<Page>) -> Json<TunnelList> {
    let snapshot = site.engine.snapshot();
    let is_asked = |url: &str| page.url.as_deref().is_none_or(|asked| asked == url);
    let mut found: Vec<_> = snapshot
        .tunnels
        .iter()
        .filter(|info| is_asked(&info.url) && page.has(&[&info.url, &info.owner, &info.machine]))
        .collect();
    found.sort_by(|one, other| one.url.cmp(&other.url));
    let (total, found) = page.cut(found);
    let tunnels = found.map(|info| Tunnel::of(info, site.sampler.recent(&info.url)));
    Json(TunnelList { total, tunnels: tunnels.collect() })
}

/// How many of the latest.
#[derive(Debug, Deserialize)]
pub(super) struct Latest {
    limit: Option<usize>,
}

pub(super) async fn requests(
    State(site): State<Site>,
    Query(Latest { limit }): Query<Latest>,
) -> Json<RequestList> {
    let (requests, since) = site.watch.requests(limit.unwrap_or(usize::MAX));
    Json(RequestList { since, requests })
}

pub(super) async fn visitors(State(site): State<Site>) -> Json<VisitorList> {
    let (visitors, since) = site.watch.visitors();
    Json(VisitorList { since, visitors })
}

/// Which past: whose and how long.
#[derive(Debug, Deserialize)]
pub(super) struct Past {
    #[serde(default)]
    range: Range,
    url: Option<String>,
}

pub(super) async fn history(
    State(site): State<Site>,
    Query(Past { range, url }): Query<Past>,
) -> Json<Series> {
    Json(match url {
        Some(url) => site.sampler.tunnel(&url, range),
        None => site.sampler.whole(range),
    })
}

/// What was refused, by code.
#[derive(Debug, Serialize)]
pub(super) struct CodeList {
    codes: Vec<Codes>,
}

pub(super) async fn errors(State(site): State<Site>) -> Json<CodeList> {
    Json(CodeList { codes: site.sampler.codes() })
}
