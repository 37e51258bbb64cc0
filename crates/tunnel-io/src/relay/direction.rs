//! One direction of a relay: everything a reader says, to a writer, and then the end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Operation, RelayError, Side};

/// Reads and writes that one poll of a direction may make: with full chunks 512 KiB, so that a
/// relay moves at most 1 MiB before other tasks of the worker get their turn. With both directions
/// it stays well under tokio's own budget of 128 operations a poll, past which sockets pretend to
/// be pending and each chunk in hand would have to be set aside.
const CALLS_PER_POLL: u32 = 16;

/// Where one direction stands.
pub(super) struct Direction {
    /// The side that is read.
    from: Side,
    phase: Phase,
    /// Something was written since the last flush.
    unflushed: bool,
    /// The writer takes nothing any more: what is read is dropped.
    to_nobody: bool,
    /// The reader takes nothing any more: its end is no clean one.
    last_words: bool,
    /// What was read and not yet taken by the writer. Nothing is read while there is any.
    leftover: Option<Leftover>,
    moved: u64,
}

enum Phase {
    /// The reader may have more to say.
    Moving,
    /// The reader said EOF and the writer has to be told.
    Closing,
    /// The writer has been told.
    Ended,
}

/// Bytes the writer refused, allocated to fit.
struct Leftover {
    bytes: Box<[u8]>,
    written: usize,
}

/// What is left of a poll's calls.
struct Budget(u32);

impl Direction {
    /// The direction that reads `side` and writes the other.
    pub(super) fn from(side: Side) -> Self {
        Self {
            from: side,
            phase: Phase::Moving,
            unflushed: false,
            to_nobody: false,
            last_words: false,
            leftover: None,
            moved: 0,
        }
    }

    /// The writer takes nothing any more. The reader is still read, so that its own end is noticed, and so that one
    /// that says all before it listens comes to listen.
    pub(super) fn set_to_nobody(&mut self) {
        (self.to_nobody, self.leftover) = (true, None);
    }

    /// The reader takes nothing any more. What it says is passed on until it ends, but of that end the writer isn't
    /// told: the write that failed may have swallowed a socket's pending reset, after which reads report an orderly
    /// EOF.
    pub(super) fn set_last_words(&mut self) {
        self.last_words = true;
    }

    /// Bytes the writer has taken.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Bytes of memory held for the writer.
    pub(super) fn held(&self) -> usize {
        self.leftover.as_ref().map_or(0, |leftover| leftover.bytes.len())
    }

    /// Whether no memory is held for the writer, not even an empty buffer.
    #[cfg(test)]
    pub(super) fn holds_nothing(&self) -> bool {
        self.leftover.is_none()
    }

    /// Moves what can be moved now. Ready once the writer has been told of the reader's end.
    ///
    /// `scratch` is free for use during the call and must not be empty; `count` is told of bytes
    /// as the writer takes them.
    pub(super) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        scratch: &mut [u8],
        count: impl Fn(u64),
    ) -> Poll<Result<(), RelayError>>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        let mut budget = Budget(CALLS_PER_POLL);
        loop {
            match self.phase {
                Phase::Moving => {
                    ready!(self.poll_leftover(cx, writer, &mut budget, &count))?;
                    ready!(budget.poll_spend(cx));
                    let mut read = ReadBuf::new(scratch);
                    match Pin::new(&mut *reader).poll_read(cx, &mut read) {
                        Poll::Ready(end) if self.last_words && is_over(&end, &read) => {
                            ready!(self.poll_flush(cx, writer))?;
                            self.phase = Phase::Ended;
                        }
                        Poll::Ready(Ok(())) if read.filled().is_empty() => self.phase = Phase::Closing,
                        Poll::Ready(Ok(())) => {
                            let bytes = read.filled();
                            let written = self.write(cx, writer, bytes, &mut budget, &count)?;
                            ready!(self.keep(&bytes[written..]));
                        }
                        Poll::Ready(Err(source)) if source.kind() == io::ErrorKind::Interrupted => {}
                        Poll::Ready(Err(source)) => return Poll::Ready(Err(self.read_error(source))),
                        // The reader may be silent because its peer waits for what we wrote.
                        Poll::Pending => {
                            ready!(self.poll_flush(cx, writer))?;
                            return Poll::Pending;
                        }
                    }
                }
                Phase::Closing if self.to_nobody => self.phase = Phase::Ended,
                Phase::Closing => {
                    ready!(self.poll_flush(cx, writer))?;
                    ready!(Pin::new(&mut *writer).poll_shutdown(cx)).map_err(|e| self.write_error(e))?;
                    self.phase = Phase::Ended;
                }
                Phase::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Ready once the writer has taken all that it had refused.
    fn poll_leftover<W>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
        budget: &mut Budget,
        count: impl Fn(u64),
    ) -> Poll<Result<(), RelayError>>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        let Some(mut leftover) = self.leftover.take() else { return Poll::Ready(Ok(())) };
        leftover.written += self.write(cx, writer, &leftover.bytes[leftover.written..], budget, count)?;
        if leftover.written == leftover.bytes.len() {
            return Poll::Ready(Ok(()));
        }
        self.leftover = Some(leftover);
        Poll::Pending
    }

    /// Writes until all of `bytes` is taken, or the writer or the budget refuses more, and returns
    /// how much was taken. If that is less than all, a wake-up has been arranged.
    fn write<W>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
        bytes: &[u8],
        budget: &mut Budget,
        count: impl Fn(u64),
    ) -> Result<usize, RelayError>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        if self.to_nobody {
            return Ok(bytes.len());
        }
        let mut written = 0;
        while written < bytes.len() && budget.poll_spend(cx).is_ready() {
            let rest = &bytes[written..];
            match Pin::new(&mut *writer).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Err(self.write_error(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(taken)) if taken > rest.len() => {
                    return Err(self.write_error(io::Error::other("the writer took more than it was given")));
                }
                Poll::Ready(Ok(taken)) => {
                    written += taken;
                    self.moved += taken as u64;
                    self.unflushed = true;
                    count(taken as u64);
                }
                Poll::Ready(Err(source)) if source.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(source)) => return Err(self.write_error(source)),
                Poll::Pending => break,
            }
        }
        Ok(written)
    }

    /// Sets `bytes` aside for the writer; pending if there are any.
    fn keep(&mut self, bytes: &[u8]) -> Poll<()> {
        if bytes.is_empty() {
            return Poll::Ready(());
        }
        self.leftover = Some(Leftover { bytes: bytes.into(), written: 0 });
        Poll::Pending
    }

    fn poll_flush<W>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Poll<Result<(), RelayError>>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        if self.unflushed && !self.to_nobody {
            ready!(Pin::new(writer).poll_flush(cx)).map_err(|e| self.write_error(e))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn read_error(&self, source: io::Error) -> RelayError {
        RelayError { side: self.from, operation: Operation::Read, source }
    }

    fn write_error(&self, source: io::Error) -> RelayError {
        RelayError { side: self.from.other(), operation: Operation::Write, source }
    }
}

/// Whether a read was the last.
fn is_over(outcome: &io::Result<()>, read: &ReadBuf<'_>) -> bool {
    match outcome {
        Ok(()) => read.filled().is_empty(),
        Err(error) => error.kind() != io::ErrorKind::Interrupted,
    }
}

impl Budget {
    /// Ready if one more call may be made; otherwise the task is woken to go on at its next turn.
    fn poll_spend(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Poll::Ready(())
            }
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

/// Shows how much, never what.
impl fmt::Debug for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Moving => "moving",
            Phase::Closing => "closing",
            Phase::Ended => "ended",
        };
        let (moved, held) = (self.moved, self.held());
        write!(f, "{phase}, {moved} bytes moved, {held} held")
    }
}
