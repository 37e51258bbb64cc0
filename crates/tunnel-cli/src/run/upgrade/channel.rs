//! Messages between two processes, each with an open file if need be: JSON in frames over a Unix socket.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    cmsg_space,
    io::{FdFlags, fcntl_setfd},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, Shutdown, recvmsg, sendmsg, shutdown,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{io::Interest, net::UnixStream};

/// The longest message, in bytes: a lease is a few hundred.
const MESSAGE_MAX: u32 = 64 * 1024;
/// Bytes before each message, which say how long it is.
const LENGTH: usize = 4;

/// One end of the way between two processes.
#[derive(Debug)]
pub(super) struct Channel {
    socket: UnixStream,
    /// What has come of the next message, its length first, ...
    read: Vec<u8>,
    /// ... and the file that came with it.
    file: Option<OwnedFd>,
}

impl Channel {
    /// Two ends; the other one is for a child's standard input.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        Ok((Self::new(ours)?, theirs.into()))
    }

    /// Talks over a socket.
    pub(super) fn new(socket: std::os::unix::net::UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UnixStream::from_std(socket)?, read: Vec::new(), file: None })
    }

    /// Ends it for both sides.
    pub(super) fn close(&self) {
        // A socket that isn't connected any more is closed already.
        let _ = shutdown(&self.socket, Shutdown::Both);
    }

    /// Says something, with an open file if need be.
    pub(super) async fn send(
        &self,
        message: &impl Serialize,
        file: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let length = u32::try_from(text.len()).ok().filter(|length| *length <= MESSAGE_MAX);
        let length = length.ok_or_else(|| io::Error::other("a message is too long"))?;
        let frame = [&length.to_be_bytes()[..], &text].concat();
        let mut sent = 0;
        while sent < frame.len() {
            // The file goes with the first byte.
            let file = file.filter(|_| sent == 0);
            let write = || send_some(&self.socket, &frame[sent..], file);
            sent += self.socket.async_io(Interest::WRITABLE, write).await?;
        }
        Ok(())
    }

    /// The next message and the file that came with it; `None` at the end.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Option<OwnedFd>)>> {
        let mut chunk = [0; 1024];
        while let missing @ 1.. = self.missing()? {
            let rest = &mut chunk[..missing.min(1024)];
            let read = || receive_some(&self.socket, rest);
            let (bytes, file) = self.socket.async_io(Interest::READABLE, read).await?;
            match bytes {
                0 if self.read.is_empty() => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                bytes => self.read.extend_from_slice(&chunk[..bytes]),
            }
            self.file = file.or(self.file.take());
        }
        let message = std::mem::take(&mut self.read);
        Ok(Some((serde_json::from_slice(&message[LENGTH..])?, self.file.take())))
    }

    /// How many bytes of the next message, or of its length, are still to come.
    fn missing(&self) -> io::Result<usize> {
        let Some(length) = self.read.first_chunk::<LENGTH>() else { return Ok(LENGTH - self.read.len()) };
        match u32::from_be_bytes(*length) {
            length if length > MESSAGE_MAX => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"))
            }
            length => Ok(LENGTH + length as usize - self.read.len()),
        }
    }
}

fn send_some(socket: &UnixStream, bytes: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = file.as_slice();
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::Error::other("no room for a file in a message"));
    }
    Ok(sendmsg(socket.as_fd(), &[IoSlice::new(bytes)], &mut control, SendFlags::empty())?)
}

fn receive_some(socket: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket.as_fd(), &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::empty())?;
    let mut file = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            file = files.last().or(file);
        }
    }
    if let Some(file) = &file {
        fcntl_setfd(file, FdFlags::CLOEXEC)?;
    }
    Ok((received.bytes, file))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn messages_come_in_order_with_their_files() {
        let (ours, theirs) = Channel::pair().unwrap();
        let mut theirs = Channel::new(theirs.into()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let long = "x".repeat(60_000);
        let sending = async {
            ours.send(&"first", None).await.unwrap();
            ours.send(&"with a file", Some(listener.as_fd())).await.unwrap();
            ours.send(&long, None).await.unwrap();
            drop(ours);
        };
        let receiving = async {
            let (first, none) = theirs.receive::<String>().await.unwrap().unwrap();
            assert!(first == "first" && none.is_none());
            let (second, file) = theirs.receive::<String>().await.unwrap().unwrap();
            assert_eq!(second, "with a file");
            let passed = TcpListener::from(file.unwrap());
            assert_eq!(passed.local_addr().unwrap(), listener.local_addr().unwrap());
            assert_eq!(theirs.receive::<String>().await.unwrap().unwrap().0, long);
            assert!(theirs.receive::<String>().await.unwrap().is_none());
        };
        tokio::join!(sending, receiving);
    }

    #[tokio::test]
    async fn what_was_read_of_a_message_is_kept_by_who_turns_to_something_else() {
        let (ours, theirs) = Channel::pair().unwrap();
        let mut theirs = Channel::new(theirs.into()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let frame = [&6_u32.to_be_bytes()[..], b"\"word\""].concat();
        send_some(&ours.socket, &frame[..7], Some(listener.as_fd())).unwrap();
        // Or nothing would be read at the first try.
        theirs.socket.readable().await.unwrap();
        tokio::select! {
            biased;
            _ = theirs.receive::<String>() => panic!("half a message"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(theirs.read, frame[..7]);
        send_some(&ours.socket, &frame[7..], None).unwrap();
        let (word, file) = theirs.receive::<String>().await.unwrap().unwrap();
        assert!(word == "word" && file.is_some());
    }

    #[tokio::test]
    async fn too_long_a_message_is_refused_on_either_side() {
        let (ours, theirs) = Channel::pair().unwrap();
        assert!(ours.send(&"x".repeat(70_000), None).await.is_err());
        let mut theirs = Channel::new(theirs.into()).unwrap();
        let mut raw = ours.socket;
        tokio::io::AsyncWriteExt::write_all(&mut raw, &u32::MAX.to_be_bytes()).await.unwrap();
        assert!(theirs.receive::<String>().await.is_err());
    }
}
