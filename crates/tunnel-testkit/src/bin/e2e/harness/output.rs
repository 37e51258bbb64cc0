//! What a process says, line by line, for whoever waits for a line and for whoever wants to know why it failed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    sync::watch,
    time::Instant,
};

/// All that a process has said.
#[derive(Debug)]
pub(crate) struct Output {
    name: String,
    lines: Mutex<Vec<Line>>,
    count: watch::Sender<usize>,
}

/// One line, from either output.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) from: Source,
    /// When it was read.
    pub(crate) at: Instant,
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

impl Output {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), lines: Mutex::default(), count: watch::Sender::new(0) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Keeps what comes, to the end.
    pub(crate) async fn read(&self, stream: impl AsyncRead + Unpin, from: Source) {
        let mut lines = BufReader::new(stream).split(b'\n');
        while let Ok(Some(bytes)) = lines.next_segment().await {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            self.lock().push(Line { text, from, at: Instant::now() });
            self.count.send_modify(|count| *count += 1);
        }
    }

    /// How much there is by now: a place to look on from.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lock().clone()
    }

    /// The first line from `mark` on that `find` takes; waits for it as long as it takes.
    pub(crate) async fn find<T>(&self, mark: usize, mut find: impl FnMut(&Line) -> Option<T>) -> T {
        let mut count = self.count.subscribe();
        let mut next = mark;
        loop {
            count.borrow_and_update();
            {
                let lines = self.lock();
                while let Some(line) = lines.get(next) {
                    next += 1;
                    if let Some(found) = find(line) {
                        return found;
                    }
                }
            }
            // The sender lives as long as `self`.
            let _ = count.changed().await;
        }
    }

    /// Shows the last lines.
    pub(crate) fn print_tail(&self, most: usize) {
        let lines = self.lock();
        println!("       -- {} said ({} lines):", self.name, lines.len());
        for line in &lines[lines.len().saturating_sub(most)..] {
            let from = if line.from == Source::Stdout { "out" } else { "err" };
            println!("       {from} {}", line.text.chars().take(400).collect::<String>());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
