//! The control stream's two directions. Neither waits for the other: a server that doesn't read what we say must
//! still be heard.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};
use tunnel_protocol::{
    ClientMessage, FrameDecoder, FrameError, ServerMessage, frame, limits::CONTROL_FRAME_MAX,
};

use crate::text;

/// Messages that may wait for the control stream: every tunnel bound and unbound, and some heartbeats.
pub(crate) const OUTBOX: usize = 1024;

/// Why the control stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("the server ended the session")]
    Ended,
    #[error("the connection to the server was lost")]
    Io(#[source] io::Error),
    #[error("the server sent something that is no control message: {0}")]
    Frame(#[source] FrameError),
}

/// Cuts messages out of the control stream.
pub(crate) struct Inbox<R> {
    io: R,
    decoder: FrameDecoder,
}

impl<R: AsyncRead + Unpin> Inbox<R> {
    pub(crate) fn new(io: R) -> Self {
        Self { io, decoder: FrameDecoder::new(CONTROL_FRAME_MAX) }
    }

    /// The next message, with texts that are safe to print.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<ServerMessage, ControlError> {
        loop {
            if let Some(message) = self.decoder.next_message().map_err(ControlError::Frame)? {
                return Ok(text::clean(message));
            }
            let mut piece = [0; 1024];
            match self.io.read(&mut piece).await.map_err(ControlError::Io)? {
                0 => return Err(ControlError::Ended),
                length => self.decoder.push(&piece[..length]),
            }
        }
    }
}

/// Sends what is put into the outbox, until the stream fails or the outbox is closed.
pub(crate) async fn send(
    mut io: impl AsyncWrite + Unpin,
    mut outbox: mpsc::Receiver<ClientMessage>,
) -> ControlError {
    while let Some(message) = outbox.recv().await {
        // Only a name of absurd length can be too long, and the server would refuse it anyway.
        let Ok(frame) = frame::encode(&message, CONTROL_FRAME_MAX) else { continue };
        if let Err(error) = io.write_all(&frame).await {
            return ControlError::Io(error);
        }
        if outbox.is_empty()
            && let Err(error) = io.flush().await
        {
            return ControlError::Io(error);
        }
    }
    ControlError::Ended
}
