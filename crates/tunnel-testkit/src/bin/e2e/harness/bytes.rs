//! Endless bytes that never repeat, so that a lost, doubled or swapped piece of a transfer shows.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Fault, Outcome};

/// The bytes of one transfer.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    block: Vec<u8>,
    number: u64,
}

/// An odd size, so that blocks and buffers never line up.
const BLOCK: usize = 65_521;

impl Pattern {
    /// The bytes that belong to a number.
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = seed.wrapping_mul(2).wrapping_add(1);
        let block = std::iter::repeat_with(|| {
            // Knuth's MMIX generator; its high bits are good.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        });
        Self { block: block.take(BLOCK).collect(), number: 0 }
    }

    /// The next bytes: the same block each time, but for its number.
    fn next(&mut self) -> &[u8] {
        self.block[..8].copy_from_slice(&self.number.to_be_bytes());
        self.number += 1;
        &self.block
    }

    /// Writes the first `length` of them.
    ///
    /// # Errors
    /// The connection failed.
    pub(crate) async fn write(mut self, to: &mut (impl AsyncWrite + Unpin), length: u64) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            let block = self.next();
            let piece = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            to.write_all(&block[..piece]).await?;
            left -= piece as u64;
        }
        to.flush().await
    }

    /// Reads `length` bytes, each of which must be the right one.
    ///
    /// # Errors
    /// The connection failed or ended, or a byte differs.
    pub(crate) async fn read(mut self, from: &mut (impl AsyncRead + Unpin), length: u64) -> Outcome {
        let mut buffer = vec![0; BLOCK];
        let mut left = length;
        while left > 0 {
            let piece = BLOCK.min(usize::try_from(left).unwrap_or(usize::MAX));
            from.read_exact(&mut buffer[..piece]).await?;
            if buffer[..piece] != self.next()[..piece] {
                return Err(Fault::new(format!("the bytes after {} differ", length - left)));
            }
            left -= piece as u64;
        }
        Ok(())
    }
}
