//! One who has a twinned stream: it reads and writes in two tasks, which are polled only when they were woken.

use std::{
    io::ErrorKind,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::net::End;
use crate::twin::Twinned;

/// Whether a task was woken.
#[derive(Debug)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What a party says, and how.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) says: Vec<u8>,
    pub(super) ends: bool,
    /// Most bytes read or written at once.
    pub(super) piece: usize,
    pub(super) flushes: bool,
    /// Whether reading and writing are two's business: neither ends with the other.
    pub(super) splits: bool,
}

#[derive(Debug)]
pub(super) struct Party {
    pub(super) io: Option<Twinned<End>>,
    pub(super) plan: Plan,
    pub(super) read: Vec<u8>,
    pub(super) read_end: Option<Result<(), ErrorKind>>,
    pub(super) write_end: Option<Result<(), ErrorKind>>,
    written: usize,
    must_flush: bool,
    reads: Arc<Flag>,
    writes: Arc<Flag>,
}

impl Party {
    pub(super) fn new(io: Twinned<End>, plan: Plan) -> Self {
        let flag = || Arc::new(Flag(AtomicBool::new(true)));
        Self {
            io: Some(io),
            plan,
            read: Vec::new(),
            read_end: None,
            write_end: None,
            written: 0,
            must_flush: false,
            reads: flag(),
            writes: flag(),
        }
    }

    /// Lets both tasks run that were woken; whether any was.
    pub(super) fn run(&mut self) -> bool {
        let reads = self.reads.0.swap(false, Ordering::SeqCst);
        let writes = self.writes.0.swap(false, Ordering::SeqCst);
        if reads && self.read_end.is_none() && self.io.is_some() {
            let waker = Waker::from(self.reads.clone());
            if let Poll::Ready(end) = self.poll_read(&mut Context::from_waker(&waker)) {
                self.read_end = Some(end);
            }
        }
        if writes && self.write_end.is_none() && self.io.is_some() {
            let waker = Waker::from(self.writes.clone());
            if let Poll::Ready(end) = self.poll_write(&mut Context::from_waker(&waker)) {
                self.write_end = Some(end);
            }
        }
        // As a relay does: it is over when both ways are, or one has failed.
        let ends = [self.read_end, self.write_end];
        // Two halves go on by themselves, each to its own end.
        let has_failed = !self.plan.splits && ends.iter().any(|end| matches!(end, Some(Err(_))));
        if ends.iter().all(Option::is_some) || has_failed {
            self.io = None;
        }
        reads || writes
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ErrorKind>> {
        let io = self.io.as_mut().unwrap();
        loop {
            let mut piece = vec![0; self.plan.piece];
            let mut buf = ReadBuf::new(&mut piece);
            match Pin::new(&mut *io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => self.read.extend_from_slice(buf.filled()),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.kind())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ErrorKind>> {
        let mut io = Pin::new(self.io.as_mut().unwrap());
        loop {
            if self.must_flush {
                match io.as_mut().poll_flush(cx) {
                    Poll::Ready(Ok(())) => self.must_flush = false,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error.kind())),
                    Poll::Pending => return Poll::Pending,
                }
            }
            let rest = &self.plan.says[self.written..];
            if rest.is_empty() {
                break;
            }
            match io.as_mut().poll_write(cx, &rest[..rest.len().min(self.plan.piece)]) {
                Poll::Ready(Ok(count)) => {
                    self.written += count;
                    self.must_flush = self.plan.flushes;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.kind())),
                Poll::Pending => return Poll::Pending,
            }
        }
        if !self.plan.ends {
            return Poll::Pending;
        }
        io.poll_shutdown(cx).map_err(|error| error.kind())
    }
}
