//! Streams whose every byte is delivered by hand, or lost.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What travels.
#[derive(Clone, Copy, Debug)]
enum Item {
    Byte(u8),
    Fin,
    Reset,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    flight: VecDeque<Item>,
    arrived: VecDeque<u8>,
    is_ended: bool,
    is_reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug, Default)]
struct Ways {
    ways: [Way; 2],
    is_lost: bool,
}

/// A stream between the ends 0 and 1.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire(Arc<Mutex<Ways>>);

/// One end of it. Dropping it resets what hasn't ended both ways.
#[derive(Debug)]
pub(super) struct End {
    wire: Wire,
    side: usize,
    has_ended: bool,
}

/// Bytes that may be under way before a writer waits.
const WINDOW: usize = 64;

impl Wire {
    pub(super) fn end(&self, side: usize) -> End {
        End { wire: self.clone(), side, has_ended: false }
    }

    /// Delivers so many of what end `from` sent; whether there was anything.
    pub(super) fn deliver(&self, from: usize, count: usize) -> bool {
        let mut ways = self.lock();
        let count = count.min(ways.ways[from].flight.len());
        for _ in 0..count {
            let way = &mut ways.ways[from];
            match way.flight.pop_front().unwrap() {
                Item::Byte(byte) => way.arrived.push_back(byte),
                Item::Fin => way.is_ended |= !way.is_reset,
                Item::Reset => {
                    way.is_reset = true;
                    let writer = ways.ways[1 - from].writer.take();
                    writer.into_iter().for_each(Waker::wake);
                }
            }
        }
        if count > 0 {
            ways.ways[from].reader.take().into_iter().for_each(Waker::wake);
        }
        count > 0
    }

    /// The connection is gone, and what was under way.
    pub(super) fn lose(&self) {
        let mut ways = self.lock();
        ways.is_lost = true;
        for way in &mut ways.ways {
            way.flight.clear();
            way.reader.take().into_iter().for_each(Waker::wake);
            way.writer.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Says something at the end `side`, as nobody who waits would.
    pub(super) fn say(&self, side: usize, bytes: &[u8]) {
        self.lock().ways[side].flight.extend(bytes.iter().copied().map(Item::Byte));
    }

    /// Ends what the end `side` says, likewise.
    pub(super) fn end_by_hand(&self, side: usize) {
        self.lock().ways[side].flight.push_back(Item::Fin);
    }

    fn lock(&self) -> MutexGuard<'_, Ways> {
        self.0.lock().unwrap()
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut ways = self.wire.lock();
        let is_lost = ways.is_lost;
        let way = &mut ways.ways[1 - self.side];
        let count = way.arrived.len().min(buf.remaining());
        way.arrived.drain(..count).for_each(|byte| buf.put_slice(&[byte]));
        match () {
            () if count > 0 => way.writer.take().into_iter().for_each(Waker::wake),
            () if way.is_ended || buf.remaining() == 0 => {}
            () if way.is_reset => return Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
            () if is_lost => return Poll::Ready(Err(ErrorKind::ConnectionAborted.into())),
            () => {
                way.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl End {
    fn check(&self, ways: &Ways) -> io::Result<()> {
        match () {
            () if self.has_ended => Err(ErrorKind::BrokenPipe.into()),
            () if ways.ways[1 - self.side].is_reset => Err(ErrorKind::ConnectionReset.into()),
            () if ways.is_lost => Err(ErrorKind::ConnectionAborted.into()),
            () => Ok(()),
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut ways = self.wire.lock();
        self.check(&ways)?;
        let way = &mut ways.ways[self.side];
        let room = WINDOW.saturating_sub(way.flight.len() + way.arrived.len());
        if room == 0 {
            way.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = room.min(bytes.len());
        way.flight.extend(bytes[..count].iter().copied().map(Item::Byte));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_ended { Poll::Ready(Ok(())) } else { Poll::Ready(self.check(&self.wire.lock())) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_ended {
            let mut ways = self.wire.lock();
            let theirs = &ways.ways[1 - self.side];
            if theirs.is_ended && theirs.is_reset {
                return Poll::Ready(Ok(()));
            }
            self.check(&ways)?;
            ways.ways[self.side].flight.push_back(Item::Fin);
            drop(ways);
            self.has_ended = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut ways = self.wire.lock();
        let theirs = &ways.ways[1 - self.side];
        let is_over = theirs.is_reset || (self.has_ended && theirs.is_ended);
        if !is_over && !ways.is_lost {
            ways.ways[self.side].flight.push_back(Item::Reset);
        }
    }
}
