//! What happens, as it happens: server-sent events.
//!
//! `status` once at the beginning; `sample` each second; `requests`, several at a time and no more than a person can
//! follow; `skipped`, how many that left out; `changed` when sessions or tunnels came or went.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::State,
    response::sse::{Event as Sent, KeepAlive, Sse},
};
use futures::{Stream, stream};
use http::StatusCode;
use serde_json::json;
use tokio::{
    sync::{
        OwnedSemaphorePermit,
        broadcast::{Receiver, error::RecvError},
    },
    time::{Interval, MissedTickBehavior, interval},
};
use tunnel_server::{Event, RequestRecord};

use crate::{
    door::guard::Standing,
    live::Sample,
    model::{Request, Status},
    problem::Problem,
    server::Site,
};

/// How often requests are told.
const FLUSH: Duration = Duration::from_millis(250);
/// How many are told at a time.
const TOLD: usize = 20;

/// One reader's stream.
struct Reader {
    standing: Standing,
    first: Option<Status>,
    samples: Receiver<Sample>,
    records: Receiver<Arc<RequestRecord>>,
    events: Receiver<Event>,
    flush: Interval,
    waiting: Vec<Request>,
    skipped: u64,
    changed: bool,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn events(
    State(site): State<Site>,
    standing: Option<Extension<Standing>>,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, Problem> {
    let place = site.readers.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too-many-readers",
            "too many follow what happens already",
        )
        .next("close other dashboards, or try again later")
    })?;
    let mut flush = interval(FLUSH);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reader = Reader {
        standing: standing.map_or_else(Standing::lasting, |Extension(standing)| standing),
        first: Some(Status::of(&site)),
        samples: site.sampler.follow(),
        records: site.engine.requests(),
        events: site.engine.subscribe(),
        flush,
        waiting: Vec::new(),
        skipped: 0,
        changed: false,
        _place: place,
    };
    let events =
        stream::unfold(reader, async |mut reader| reader.next().await.map(|sent| (Ok(sent), reader)));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

impl Reader {
    /// The next thing to tell; `None` once nobody is entitled to it any more.
    async fn next(&mut self) -> Option<Sent> {
        if let Some(status) = self.first.take() {
            return Some(sent("status", &status));
        }
        loop {
            tokio::select! {
                sample = self.samples.recv() => match sample {
                    Ok(_) if !self.standing.holds() => return None,
                    Ok(sample) => return Some(sent("sample", &sample)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
                record = self.records.recv() => match record {
                    Ok(record) if self.waiting.len() < TOLD => self.waiting.push(Request::from(&*record)),
                    Ok(_) => self.skipped += 1,
                    Err(RecvError::Lagged(missed)) => self.skipped += missed,
                    Err(RecvError::Closed) => return None,
                },
                event = self.events.recv() => match event {
                    Ok(event) => self.changed |= changes(&event),
                    Err(RecvError::Lagged(_)) => self.changed = true,
                    Err(RecvError::Closed) => return None,
                },
                _ = self.flush.tick() => {
                    if !self.waiting.is_empty() {
                        return Some(sent("requests", &std::mem::take(&mut self.waiting)));
                    }
                    if std::mem::take(&mut self.changed) {
                        return Some(sent("changed", &json!({})));
                    }
                    if self.skipped > 0 {
                        return Some(sent("skipped", &json!({ "requests": std::mem::take(&mut self.skipped) })));
                    }
                },
            }
        }
    }
}

/// Whether lists look different after it.
fn changes(event: &Event) -> bool {
    !matches!(event, Event::LeasesChanged | Event::LoginRefused { .. })
}

fn sent(event: &str, data: &impl serde::Serialize) -> Sent {
    let data = serde_json::to_string(data).unwrap_or_default();
    Sent::default().event(event).data(data)
}
