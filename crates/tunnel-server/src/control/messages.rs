//! Control messages over a control stream.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::mpsc,
};
use tunnel_protocol::{ClientMessage, FrameDecoder, ServerMessage, frame, limits::CONTROL_FRAME_MAX};

/// The client's messages, in order.
pub(super) struct Messages<S> {
    stream: ReadHalf<S>,
    decoder: FrameDecoder,
    chunk: Box<[u8]>,
}

impl<S: AsyncRead> Messages<S> {
    pub(super) fn new(stream: ReadHalf<S>) -> Self {
        Self { stream, decoder: FrameDecoder::new(CONTROL_FRAME_MAX), chunk: Box::new([0; 1024]) }
    }

    /// The next message; `None` at the end of the stream.
    ///
    /// # Cancel safety
    /// Cancel safe: bytes read are kept.
    pub(super) async fn next(&mut self) -> io::Result<Option<ClientMessage>> {
        loop {
            let message = self.decoder.next_message();
            match message.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                Some(message) => return Ok(Some(message)),
                None => match self.stream.read(&mut self.chunk).await? {
                    0 => return Ok(None),
                    n => self.decoder.push(&self.chunk[..n]),
                },
            }
        }
    }
}

/// Writes what is queued until the queue's sender is gone.
pub(super) async fn write_all<S: AsyncWrite>(
    mut stream: WriteHalf<S>,
    mut outbox: mpsc::Receiver<ServerMessage>,
) -> io::Result<()> {
    while let Some(message) = outbox.recv().await {
        let frame = frame::encode(&message, CONTROL_FRAME_MAX).map_err(io::Error::other)?;
        stream.write_all(&frame).await?;
        stream.flush().await?;
    }
    stream.shutdown().await
}
