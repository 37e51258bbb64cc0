//! Makes spans of what the engine tells, and puts them into the sender's queue. Never waits for it.

use std::sync::Arc;

use tokio::sync::{
    broadcast::{
        Receiver,
        error::{RecvError, TryRecvError},
    },
    mpsc,
};
use tokio_util::sync::CancellationToken;
use tunnel_server::{Event, RequestRecord, ServerHandle};

use crate::{
    losses::Losses,
    message::Span,
    spans::{self, Sessions},
};

/// What is said of records that were missed.
const MISSED: &str = "more visits at once than can be looked at, traced or not";
/// What is said of spans for which there is no room.
const FULL: &str = "the receiver takes fewer than there are";

/// The task between engine and sender.
#[derive(Debug)]
pub(crate) struct Gatherer {
    pub(crate) server: ServerHandle,
    pub(crate) records: Receiver<Arc<RequestRecord>>,
    pub(crate) events: Receiver<Event>,
    pub(crate) sessions: Sessions,
    pub(crate) queue: mpsc::Sender<Span>,
    pub(crate) losses: Arc<Losses>,
    /// Cancelled when no more will come.
    pub(crate) ending: CancellationToken,
}

impl Gatherer {
    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                record = self.records.recv() => match record {
                    Ok(record) => self.put(spans::of_record(&record)),
                    Err(RecvError::Lagged(missed)) => self.losses.add(missed, MISSED),
                    Err(RecvError::Closed) => break,
                },
                event = self.events.recv() => match event {
                    Ok(event) => self.take(event),
                    Err(RecvError::Lagged(_)) => self.look(),
                    Err(RecvError::Closed) => break,
                },
                () = self.ending.cancelled() => break,
            }
        }
        self.rest();
    }

    /// Takes what is there already.
    fn rest(&mut self) {
        loop {
            match self.records.try_recv() {
                Ok(record) => self.put(spans::of_record(&record)),
                Err(TryRecvError::Lagged(missed)) => self.losses.add(missed, MISSED),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        loop {
            match self.events.try_recv() {
                Ok(event) => self.take(event),
                Err(TryRecvError::Lagged(_)) => self.look(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        let open = self.sessions.end();
        self.put(open);
    }

    fn take(&mut self, event: Event) {
        let over = self.sessions.take(event);
        self.put(over);
    }

    /// Learns which sessions there are.
    pub(crate) fn look(&mut self) {
        let over = self.sessions.look(&self.server.snapshot().sessions);
        self.put(over);
    }

    fn put(&self, spans: impl IntoIterator<Item = Span>) {
        for span in spans {
            if self.queue.try_send(span).is_err() {
                self.losses.add(1, FULL);
            }
        }
    }
}
