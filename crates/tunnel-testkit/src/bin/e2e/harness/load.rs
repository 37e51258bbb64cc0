//! Visitors who come at a steady rate, whatever happens: every one of them must get its answer.
//!
//! Half of them open a connection, half use one that an earlier visitor left open, as browsers do. A kept-alive
//! connection may be closed by the server at any time; a request that finds it closed, with not a byte of an answer,
//! is sent again on a new one, as browsers do too. These are counted apart.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tunnel_testkit::{Answer, Visitor};

use super::{Fault, Outcome, PATIENCE, check, rate::Rate};

/// Visitors coming.
#[derive(Debug)]
pub(crate) struct Load {
    crowd: Arc<Crowd>,
    rate: Rate,
}

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) answered: u64,
    /// Sent again, because the kept-alive connection was closed.
    pub(crate) reused_closed: u64,
    pub(crate) failures: Vec<String>,
    pub(crate) slowest: Duration,
}

impl Report {
    /// # Errors
    /// Which failed, the first of them.
    pub(crate) fn check_none_failed(&self) -> Outcome {
        let Self { answered, failures, .. } = self;
        let first = &failures[..failures.len().min(20)];
        check!(failures.is_empty(), "{} of {answered} requests failed: {first:#?}", failures.len());
        Ok(())
    }
}

#[derive(Debug)]
struct Crowd {
    web: SocketAddr,
    host: String,
    began: Instant,
    idle: Mutex<VecDeque<Visitor>>,
    report: Mutex<Report>,
}

/// Connections kept open at most.
const KEPT: usize = 32;

impl Load {
    /// Visitors for `host`, so many a second. Its upstream is `Upstream::hello`.
    pub(crate) fn start(web: SocketAddr, host: &str, per_second: u32) -> Self {
        let crowd = Arc::new(Crowd {
            web,
            host: host.into(),
            began: Instant::now(),
            idle: Mutex::default(),
            report: Mutex::default(),
        });
        let visitors = crowd.clone();
        Self { crowd, rate: Rate::start(per_second, move |number| visitors.clone().visit(number)) }
    }

    /// Waits until so many more were answered.
    pub(crate) async fn answers(&self, more: u64) -> Outcome {
        self.rate.answers(more).await
    }

    /// Lets no more come, waits for the answers of those who are there, and tells.
    pub(crate) async fn stop(self) -> Report {
        let answered = self.rate.stop().await;
        let report = std::mem::take(&mut *lock(&self.crowd.report));
        Report { answered, ..report }
    }
}

impl Crowd {
    async fn visit(self: Arc<Self>, number: u64) -> bool {
        let (keeps, came) = (number % 2 == 1, self.began.elapsed());
        let outcome = match tokio::time::timeout(PATIENCE, self.ask(number, keeps)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::new("no answer")),
        };
        let took = self.began.elapsed() - came;
        let mut report = lock(&self.report);
        report.slowest = report.slowest.max(took);
        match outcome {
            Ok(()) => true,
            Err(fault) => {
                let kind = if keeps { "kept-alive" } else { "fresh" };
                report.failures.push(format!(
                    "{kind} visitor {number}, at {:.3} s for {:.3} s: {fault}",
                    came.as_secs_f32(),
                    took.as_secs_f32()
                ));
                false
            }
        }
    }

    async fn ask(&self, number: u64, keeps: bool) -> Outcome {
        let kept = if keeps { lock(&self.idle).pop_front() } else { None };
        if let Some(mut visitor) = kept {
            if self.send(&mut visitor, number, true).await.is_ok() && answers(&mut visitor).await {
                return self.take_answer(visitor, number, true).await;
            }
            lock(&self.report).reused_closed += 1;
        }
        let mut visitor = Visitor::connect(self.web).await?;
        self.send(&mut visitor, number, keeps).await?;
        self.take_answer(visitor, number, keeps).await
    }

    async fn send(&self, visitor: &mut Visitor, number: u64, keeps: bool) -> std::io::Result<()> {
        let connection = if keeps { "keep-alive" } else { "close" };
        let host = &self.host;
        visitor
            .send(format!("GET /{number} HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n\r\n"))
            .await
    }

    async fn take_answer(&self, mut visitor: Visitor, number: u64, keeps: bool) -> Outcome {
        let answer = visitor.answer().await?;
        self.judge(&answer, number)?;
        let closes = tunnel_testkit::header(&answer.head, "connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let mut idle = lock(&self.idle);
        if keeps && !closes && idle.len() < KEPT {
            idle.push_back(visitor);
        }
        Ok(())
    }

    fn judge(&self, answer: &Answer, number: u64) -> Outcome {
        let body = String::from_utf8_lossy(&answer.body);
        if answer.status == 200 && body.split(' ').nth(1) == Some(&format!("/{number}")) {
            return Ok(());
        }
        let code = tunnel_testkit::header(&answer.head, "tunnel-error").unwrap_or("none");
        Err(Fault::new(format!("{} (Tunnel-Error: {code}): {body:.200}", answer.status)))
    }
}

/// Whether the first byte of an answer comes.
async fn answers(visitor: &mut Visitor) -> bool {
    matches!(visitor.stream().peek(&mut [0]).await, Ok(1))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
