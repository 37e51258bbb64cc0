//! The socket under a lane: a TCP stream that asks again when Linux would let it write and doesn't say so.
//!
//! Linux calls a socket writable once a third of its send buffer is free. What was sent and lies behind a lost packet
//! counts as used until that packet has arrived; so on a path with loss a lane is told for a round trip or longer
//! that it can't write, though the kernel has nothing left to send and would take more. Without a bound on what waits
//! unsent ([`tune_lane`](crate::tune_lane)) there is a stock that lasts over this, and whatever is small waits behind
//! it. With the bound there is none, so a blocked lane asks again every few milliseconds.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::coop::poll_proceed,
    time::{Instant, Sleep, sleep},
};

/// How long a blocked lane waits before it asks again: what may wait unsent lasts as long at 25 MB/s.
const AGAIN: Duration = Duration::from_millis(5);
/// How often it asks in vain before it waits to be told: for a second, longer than nearly all round trips. Behind a
/// peer that reads nothing there is no use in asking.
const TIMES: u8 = 200;
/// Most slices that Linux takes in one go (`UIO_MAXIOV`).
const SLICES: usize = 1024;
/// `MSG_NOSIGNAL` of Linux: a peer that is gone is an error and no signal.
const NO_SIGNAL: i32 = 0x4000;

/// A lane's TCP stream.
#[derive(Debug)]
pub(crate) struct LaneSocket {
    stream: TcpStream,
    state: State,
    /// How often it was asked in vain since bytes were written last.
    in_vain: u8,
    /// When to ask again. It is kept once the lane was blocked, since it will be again.
    again: Option<Pin<Box<Sleep>>>,
}

/// How the last write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As the stream said.
    Told,
    /// It is blocked, and it will be asked again when the time has come.
    Waiting,
    /// Bytes were written though the stream said that it can't: more may be.
    Open,
}

impl LaneSocket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, state: State::Told, in_vain: 0, again: None }
    }

    /// Goes on from what the stream made of a write. `send` does the same write at once, whatever was said.
    fn poll_anyway(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
        send: impl Fn(&SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() || cfg!(not(target_os = "linux")) {
            (self.state, self.in_vain) = (State::Told, 0);
            return written;
        }
        // An exhausted budget looks like a blocked socket, and what isn't asked of tokio isn't charged to it.
        let coop = ready!(poll_proceed(cx));
        loop {
            if self.state != State::Open {
                ready!(self.poll_again(cx));
            }
            match send(&SockRef::from(&self.stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    (self.state, self.in_vain) = (State::Told, self.in_vain.saturating_add(1));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => {
                    (self.state, self.in_vain) = (State::Open, 0);
                    coop.made_progress();
                    return Poll::Ready(sent);
                }
            }
        }
    }

    /// Waits until it is time to ask again, if it ever is.
    fn poll_again(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.in_vain >= TIMES {
            return Poll::Pending;
        }
        let again = self.again.get_or_insert_with(|| Box::pin(sleep(AGAIN)));
        // One that is still to come is left as it is: too early does no harm, and setting it costs.
        if self.state == State::Told && again.is_elapsed() {
            again.as_mut().reset(Instant::now() + AGAIN);
        }
        self.state = State::Waiting;
        again.as_mut().poll(cx)
    }
}

impl AsyncRead for LaneSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for LaneSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.poll_anyway(cx, written, |socket| socket.send_with_flags(bytes, NO_SIGNAL))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bytes);
        let bytes = &bytes[..bytes.len().min(SLICES)];
        this.poll_anyway(cx, written, |socket| socket.send_vectored_with_flags(bytes, NO_SIGNAL))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, Interest},
        net::TcpListener,
        time::timeout,
    };

    use super::*;

    async fn pair() -> (LaneSocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        near.writable().await.unwrap();
        (LaneSocket::new(near), listener.accept().await.unwrap().0)
    }

    /// Has the stream believe that it can't write, which nobody will contradict.
    fn mislead(lane: &LaneSocket) {
        let blocked = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        lane.stream.try_io(Interest::WRITABLE, blocked).unwrap_err();
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_socket_that_takes_bytes_gets_them_whatever_is_said() {
        let (mut lane, mut far) = pair().await;
        for round in 0..3 {
            mislead(&lane);
            lane.write_all(&[round; 100]).await.unwrap();
            let half = [round; 50];
            let slices = [IoSlice::new(&half), IoSlice::new(&half)];
            assert_eq!(lane.write_vectored(&slices).await.unwrap(), 100, "asked at once, since it took some");
            let mut said = [9; 200];
            far.read_exact(&mut said).await.unwrap();
            assert_eq!(said, [round; 200]);
        }
    }

    #[tokio::test]
    async fn bytes_arrive_in_order_at_a_slow_reader() {
        let (mut lane, mut far) = pair().await;
        crate::tune_lane(&lane.stream);
        SockRef::from(&lane.stream).set_send_buffer_size(64 * 1024).unwrap();
        let all: Vec<u8> = (0..4_000_000_u32).map(|i| (i % 251).to_le_bytes()[0]).collect();
        let writing = async {
            lane.write_all(&all).await.unwrap();
            lane.shutdown().await.unwrap();
        };
        let reading = async {
            let mut said = Vec::new();
            let mut piece = [0; 10_007];
            while let n @ 1.. = far.read(&mut piece).await.unwrap() {
                said.extend_from_slice(&piece[..n]);
            }
            said
        };
        let ((), said) = tokio::join!(writing, reading);
        assert!(said == all);
    }

    /// The clock stands still but for whoever waits for it.
    #[tokio::test(start_paused = true)]
    #[cfg(target_os = "linux")]
    async fn nobody_asks_for_ever() {
        let (mut lane, _far) = pair().await;
        // A late acknowledgement lets it begin anew.
        while lane.in_vain < TIMES {
            timeout(Duration::from_secs(3600), lane.write_all(&[0; 8 << 20])).await.unwrap_err();
        }
        assert_eq!(lane.in_vain, TIMES);
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_is_an_error() {
        let (mut lane, far) = pair().await;
        crate::reset(far);
        while lane.write_all(&[0; 1024]).await.is_ok() {
            mislead(&lane);
        }
    }
}
