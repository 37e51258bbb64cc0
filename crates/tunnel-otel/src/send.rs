//! Sends spans in batches, one after the other, and again what a receiver that is away may still take.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    collector::{Collector, PostError},
    losses::Losses,
    message::{ExportRequest, Resource, ResourceSpans, Scope, ScopeSpans, Span},
};

/// The most spans of one request: what OpenTelemetry's SDKs send by default.
const BATCH: usize = 512;
/// How long a span waits for others.
const LINGER: Duration = Duration::from_secs(2);
/// For one request and its answer.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long a batch is sent again. Meanwhile the queue fills.
const PATIENCE: Duration = Duration::from_secs(60);
/// Before the second attempt; twice as long before each further one.
const PAUSE: Duration = Duration::from_secs(1);

/// The task between queue and receiver.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) collector: Collector,
    pub(crate) resource: Resource,
    pub(crate) queue: mpsc::Receiver<Span>,
    pub(crate) losses: Arc<Losses>,
    /// Cancelled when there is no time left for a second attempt.
    pub(crate) ending: CancellationToken,
    pub(crate) is_down: bool,
}

impl Sender {
    pub(crate) async fn run(mut self) {
        loop {
            let batch = self.next().await;
            if batch.is_empty() {
                return;
            }
            self.deliver(batch).await;
        }
    }

    /// The next batch; an empty one is the end.
    async fn next(&mut self) -> Vec<Span> {
        let mut batch = Vec::with_capacity(BATCH);
        if self.queue.recv_many(&mut batch, BATCH).await == 0 {
            return batch;
        }
        let due = Instant::now() + LINGER;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            match timeout_at(due, self.queue.recv_many(&mut batch, room)).await {
                Ok(1..) => {}
                // The end of the queue, or of the wait.
                Ok(0) | Err(_) => break,
            }
        }
        batch
    }

    async fn deliver(&mut self, batch: Vec<Span>) {
        let spans = batch.len() as u64;
        let body = self.request(batch);
        let late = Instant::now() + PATIENCE;
        let mut pause = PAUSE;
        loop {
            let answer = timeout(ATTEMPT, self.collector.post(body.clone())).await;
            let error = match answer.unwrap_or(Err(PostError::Slow)) {
                Ok(rejected) => return self.delivered(rejected),
                Err(error) => error,
            };
            let why = error.line();
            if !std::mem::replace(&mut self.is_down, true) {
                warn!(receiver = %self.collector.endpoint(), why, "the OTLP receiver takes no spans");
            }
            let wait = error.retry_after().unwrap_or(pause);
            if !error.may_pass() || self.ending.is_cancelled() || Instant::now() + wait > late {
                return self.losses.add(spans, &why);
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = self.ending.cancelled() => {}
            }
            pause *= 2;
        }
    }

    fn delivered(&mut self, rejected: Option<(u64, String)>) {
        if std::mem::take(&mut self.is_down) {
            info!(receiver = %self.collector.endpoint(), "the OTLP receiver takes spans again");
        }
        if let Some((spans, why)) = rejected {
            self.losses.add(spans, &format!("the receiver rejected them: {why}"));
        }
    }

    fn request(&self, spans: Vec<Span>) -> Bytes {
        let scope = Scope { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        let resource = Some(self.resource.clone());
        ExportRequest { resource_spans: vec![ResourceSpans { resource, scope_spans }] }.encode_to_vec().into()
    }
}
