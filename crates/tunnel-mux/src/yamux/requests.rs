//! Opens on their way to the driver, which alone may ask yamux for a stream. Bounded by the
//! lane's places: each request holds its permit, and a cancelled one takes it back at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures::task::AtomicWaker;
use tokio::sync::oneshot;

use super::{Permit, Stream};
use crate::OpenError;

pub(super) type Answer = Result<Stream, OpenError>;

/// The queue of opens, and the waker of the driver that serves it.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    queue: Mutex<Queue>,
    driver: AtomicWaker,
    ending: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Request>,
    next_ticket: u64,
    closed: bool,
}

/// One open.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) permit: Permit,
    pub(super) answer: oneshot::Sender<Answer>,
    ticket: u64,
}

impl Requests {
    /// Asks for a stream; `None` once the lane is closed.
    pub(crate) fn push(&self, permit: Permit) -> Option<(u64, oneshot::Receiver<Answer>)> {
        let (answer, receiver) = oneshot::channel();
        let mut queue = self.lock();
        if queue.closed {
            return None;
        }
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiting.push_back(Request { permit, answer, ticket });
        drop(queue);
        self.driver.wake();
        Some((ticket, receiver))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Has the driver end the lane in good order.
    pub(crate) fn end(&self) {
        self.close();
        self.ending.store(true, Ordering::Release);
        self.driver.wake();
    }

    /// Whether the driver is to end the lane.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// The driver's waker, for the next push. To be called before [`Requests::pop`].
    pub(super) fn register(&self, driver: &Waker) {
        self.driver.register(driver);
    }

    /// Has the driver look around.
    pub(crate) fn wake(&self) {
        self.driver.wake();
    }

    pub(super) fn pop(&self) -> Option<Request> {
        self.lock().waiting.pop_front()
    }

    /// Keeps a request that cannot be served yet, unless it was cancelled meanwhile.
    pub(super) fn put_back(&self, request: Request) {
        let mut queue = self.lock();
        // Under the lock: a later cancel finds the request in the queue.
        if !queue.closed && !request.answer.is_closed() {
            queue.waiting.push_front(request);
        }
    }

    /// Refuses all requests, waiting and future.
    pub(super) fn close(&self) {
        let waiting = {
            let mut queue = self.lock();
            queue.closed = true;
            std::mem::take(&mut queue.waiting)
        };
        drop(waiting);
    }

    fn withdraw(&self, ticket: u64) {
        let withdrawn = {
            let mut queue = self.lock();
            let place = queue.waiting.iter().position(|request| request.ticket == ticket);
            place.and_then(|place| queue.waiting.remove(place))
        };
        drop(withdrawn);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a request out of the queue when its caller stops waiting.
#[derive(Debug)]
pub(crate) struct Withdraw<'a> {
    requests: &'a Requests,
    ticket: Option<u64>,
}

impl<'a> Withdraw<'a> {
    pub(crate) fn new(requests: &'a Requests, ticket: u64) -> Self {
        Self { requests, ticket: Some(ticket) }
    }

    /// The request was answered.
    pub(crate) fn disarm(mut self) {
        self.ticket = None;
    }
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.requests.withdraw(ticket);
        }
    }
}
