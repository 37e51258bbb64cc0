//! One flow: its datagrams to the client on a stream of its own, and the answers back to the visitor.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    time::{Instant, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;
use tunnel_protocol::{
    StreamKind,
    datagram::{Batch, Decoder, Frame, Outbox},
};

use super::{Door, table::FlowId};
use crate::{
    dispatch::{DispatchError, Visit},
    metrics::Metrics,
    policy::{self, Policies},
    records::Draft,
    stream::VisitorStream,
};

/// How long a flow may wait for a stream. Its datagrams are worth nothing before.
const OPEN_PATIENCE: Duration = Duration::from_secs(1);

/// One visitor address.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) id: FlowId,
    pub(super) visitor: SocketAddr,
    /// The visitor's address as the socket has it.
    pub(super) from: SocketAddr,
    pub(super) line: Arc<Line>,
    pub(super) over: CancellationToken,
}

/// A flow as the table holds it: dropping it ends the flow.
#[derive(Debug)]
pub(super) struct Handle {
    line: Arc<Line>,
    _over: DropGuard,
}

/// What the port's task and the flow's task share.
#[derive(Debug)]
pub(super) struct Line {
    outbox: Mutex<Outbox>,
    /// Bytes that wait in the outboxes of all flows of the port.
    queued: Arc<AtomicUsize>,
    /// Bytes from the visitor, for the limit on answers.
    asked: AtomicU64,
    /// The flow's record.
    pub(super) draft: Option<Draft>,
}

impl Handle {
    pub(super) fn new(line: Arc<Line>, over: CancellationToken) -> Self {
        Self { line, _over: over.drop_guard() }
    }

    pub(super) fn line(&self) -> Arc<Line> {
        self.line.clone()
    }
}

impl Line {
    pub(super) fn new(queued: Arc<AtomicUsize>, draft: Option<Draft>) -> Self {
        Self { outbox: Mutex::default(), queued, asked: AtomicU64::new(0), draft }
    }

    /// Queues a datagram of the visitor; how many were dropped for want of room.
    pub(super) fn push(&self, datagram: &[u8], now: Instant) -> u64 {
        self.asked.fetch_add(datagram.len() as u64, Ordering::Relaxed);
        self.draft.iter().for_each(|draft| draft.add_in(datagram.len()));
        self.change(|outbox| outbox.push(datagram, now.into_std()))
    }

    fn poll_batch(&self, cx: &mut Context<'_>) -> Poll<Batch> {
        self.change(|outbox| outbox.poll_batch(cx, Instant::now().into_std()))
    }

    fn took(&self, frame: &Frame) -> Result<(), DispatchError> {
        let took = self.lock().took(frame, Instant::now().into_std());
        took.map_err(|error| DispatchError::Broken(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    /// Keeps the account of what is queued.
    fn change<R>(&self, change: impl FnOnce(&mut Outbox) -> R) -> R {
        let mut outbox = self.lock();
        let before = outbox.queued();
        let result = change(&mut outbox);
        let after = outbox.queued();
        self.queued.fetch_add(after.saturating_sub(before), Ordering::Relaxed);
        self.queued.fetch_sub(before.saturating_sub(after), Ordering::Relaxed);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let left = self.lock().queued();
        self.queued.fetch_sub(left, Ordering::Relaxed);
    }
}

/// Carries a flow until it is taken out of the table, or its stream ends.
pub(super) async fn serve(door: &Door, flow: &Flow, visit: Visit, policies: Arc<Policies>) {
    let end = tokio::select! {
        end = carry(door, flow, visit, policies) => end,
        () = flow.over.cancelled() => Ok(()),
        () = door.endpoint.over.cancelled() => Ok(()),
    };
    door.endpoint.tally.touch();
    flow.line.draft.iter().for_each(|draft| draft.end(end.is_ok()));
    if let Err(error) = end {
        flow.line.draft.iter().for_each(|draft| draft.set_code(error.code()));
        door.endpoint.tally.refused(&door.shared.metrics, error.code());
        debug!(%error, "flow ended");
    }
}

async fn carry(door: &Door, flow: &Flow, visit: Visit, policies: Arc<Policies>) -> Result<(), DispatchError> {
    let opening = Box::pin(policy::open(&door.endpoint, StreamKind::Udp, visit, policies, None));
    let stream = timeout(OPEN_PATIENCE, opening).await.unwrap_or(Err(DispatchError::Full))?;
    flow.line.draft.iter().for_each(Draft::set_queued);
    let (read, write) = tokio::io::split(stream);
    tokio::select! {
        end = to_client(write, door, flow) => end,
        end = to_visitor(read, door, flow) => end,
    }
}

async fn to_client(
    mut stream: WriteHalf<VisitorStream>,
    door: &Door,
    flow: &Flow,
) -> Result<(), DispatchError> {
    loop {
        let batch = poll_fn(|cx| flow.line.poll_batch(cx)).await;
        Metrics::add(&door.shared.metrics.udp_dropped, batch.dropped);
        stream.write_all(&batch.bytes).await.map_err(|error| DispatchError::from(&error))?;
    }
}

async fn to_visitor(
    mut stream: ReadHalf<VisitorStream>,
    door: &Door,
    flow: &Flow,
) -> Result<(), DispatchError> {
    let mut decoder = Decoder::default();
    let mut answered = 0;
    loop {
        let read = tunnel_io::scratch::read_once(&mut stream, |bytes| decoder.push(bytes)).await;
        if read.map_err(|error| DispatchError::from(&error))? == 0 {
            return Ok(());
        }
        let next = |decoder: &mut Decoder| {
            let frame = decoder.next_frame();
            frame.map_err(|error| DispatchError::Broken(io::Error::new(io::ErrorKind::InvalidData, error)))
        };
        while let Some(frame) = next(&mut decoder)? {
            if let Frame::Datagram(datagram) = &frame {
                door.flows().answered(flow.visitor, flow.id, Instant::now());
                answered += datagram.len() as u64;
                let sent = door.may_answer(flow, answered)
                    && door.endpoint.lets_through(datagram.len(), false)
                    && door.send(datagram, flow.from).await;
                if sent {
                    door.endpoint.tally.add_out(datagram.len());
                    if let Some(draft) = &flow.line.draft {
                        draft.add_out(datagram.len());
                        draft.set_first_byte(Instant::now());
                    }
                }
                let metrics = &door.shared.metrics;
                Metrics::count(if sent { &metrics.udp_sent } else { &metrics.udp_dropped });
            }
            flow.line.took(&frame)?;
        }
    }
}

impl Door {
    /// Whether the operator's limit on answers, measured by what was asked, lets this one through.
    fn may_answer(&self, flow: &Flow, answered: u64) -> bool {
        let limit = self.shared.config().limits.udp_answer_ratio;
        limit.is_none_or(|ratio| {
            answered <= flow.line.asked.load(Ordering::Relaxed).saturating_mul(ratio.into())
        })
    }

    /// Sends a datagram to a visitor; whether the system took it. Waits only while the socket has no room.
    async fn send(&self, datagram: &[u8], to: SocketAddr) -> bool {
        match self.socket.send_to(datagram, to).await {
            Ok(_) => true,
            Err(error) => {
                debug!(%error, "a datagram can't be sent");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a flow's future keeps between polls.
    fn size<F>(_: impl FnOnce(&'static Door, &'static Flow, Visit, Arc<Policies>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_flow_costs_little() {
        let bytes = size(serve) + size_of::<Line>() + size_of::<Flow>();
        assert!(bytes <= 2048, "{bytes} bytes for each of 1,024 flows of each tunnel");
    }
}
