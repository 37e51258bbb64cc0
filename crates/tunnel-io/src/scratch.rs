//! The read buffer of a worker thread, so that no relay needs one of its own.
//!
//! A task's poll never moves between threads midway, so one buffer per thread serves every relay
//! that the thread polls. It is taken out of its cell while in use: a poll nested in another poll
//! finds the cell empty and allocates its own, rather than panicking or sharing bytes.
//!
//! The buffer is not cleared between uses. What keeps one visitor's bytes from another is the
//! contract of [`ReadBuf`]: a reader marks as filled only what it wrote.

use std::{cell::Cell, io, pin::Pin, task::ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes in a thread's buffer: large enough that a bulk transfer is bound by memory rather than
/// by system calls, small enough to stay in a core's second-level cache.
pub(crate) const SIZE: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Reads once into this thread's buffer and shows `take` what came; how many bytes that were, 0 at the end.
///
/// For readers that keep no buffer of their own while nothing comes.
///
/// # Errors
/// The reader's.
///
/// # Cancel safety
/// Cancel safe: what was read has been taken.
pub async fn read_once<R>(reader: &mut R, mut take: impl FnMut(&[u8])) -> io::Result<usize>
where
    R: AsyncRead + Unpin + ?Sized,
{
    std::future::poll_fn(|cx| {
        with(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *reader).poll_read(cx, &mut buf))?;
            take(buf.filled());
            std::task::Poll::Ready(Ok(buf.filled().len()))
        })
    })
    .await
}

/// Runs `work` with this thread's buffer of 64 KiB, which is allocated on first use. What is in it is anybody's.
pub fn with<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    // `try_with`: a future polled while its thread is being torn down still gets a buffer.
    let kept = SCRATCH.try_with(Cell::take).ok().flatten();
    let mut buffer = kept.unwrap_or_else(|| vec![0; SIZE].into_boxed_slice());
    let result = work(&mut buffer);
    let _ = SCRATCH.try_with(|cell| cell.set(Some(buffer)));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_is_kept_and_nesting_gets_another() {
        let outer = with(|outer| {
            outer[0] = 7;
            let inner = with(|inner| {
                assert_eq!((inner.len(), inner[0]), (SIZE, 0));
                inner.as_ptr()
            });
            assert_ne!(inner, outer.as_ptr());
            outer.as_ptr()
        });
        with(|again| assert_eq!((again.as_ptr(), again[0]), (outer, 7)));
    }

    #[test]
    fn a_panic_costs_the_buffer_and_nothing_more() {
        std::panic::catch_unwind(|| with(|_| panic!("in the middle of a read"))).unwrap_err();
        with(|buffer| assert_eq!(buffer.len(), SIZE));
    }
}
