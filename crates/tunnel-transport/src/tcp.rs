//! Socket options, and why these numbers.
//!
//! A TCP connection whose other end vanished stays "open" for many minutes by default. A lane must notice within
//! fifteen seconds, or visitors wait on a client that is long gone. All of it is best effort: a socket that
//! refuses an option still carries bytes, and the heartbeat above notices too.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tracing::debug;

/// A lane is silent for at most this long before the kernel asks; shorter than any NAT timeout met in practice.
const LANE_IDLE: Duration = Duration::from_secs(20);
/// Then it asks this often, ...
const LANE_INTERVAL: Duration = Duration::from_secs(5);
/// ... and this many times.
const LANE_PROBES: u32 = 3;
/// How long sent bytes may stay unacknowledged; equal to the time after which a heartbeat gives up.
#[cfg(target_os = "linux")]
const LANE_UNACKED: Duration = Duration::from_secs(15);
/// How much may wait in the kernel *before* it is sent. Enough to keep a fast link busy between two wake-ups,
/// little enough that a heartbeat or a small request does not queue behind megabytes of somebody's download.
#[cfg(target_os = "linux")]
const LANE_UNSENT: u32 = 128 * 1024;
/// Visitors come in great numbers, idle ones too; finding the dead ones is housekeeping, not urgent.
const VISITOR_IDLE: Duration = Duration::from_secs(60);

/// Prepares a connection between client and server: small writes leave at once, a dead peer is noticed after
/// 35 s of silence or (Linux) 15 s without acknowledgement, and at most 128 KiB wait unsent in the kernel (Linux).
pub fn tune_lane(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive =
        TcpKeepalive::new().with_time(LANE_IDLE).with_interval(LANE_INTERVAL).with_retries(LANE_PROBES);
    report("TCP_NODELAY", stream.set_nodelay(true));
    report("keepalive", socket.set_tcp_keepalive(&keepalive));
    #[cfg(target_os = "linux")]
    {
        report("TCP_USER_TIMEOUT", socket.set_tcp_user_timeout(Some(LANE_UNACKED)));
        report("TCP_NOTSENT_LOWAT", socket.set_tcp_notsent_lowat(LANE_UNSENT));
    }
}

/// Prepares a connection from a visitor, or to an upstream: small writes leave at once, and the kernel asks after
/// 60 s of silence.
pub fn tune_visitor(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(VISITOR_IDLE);
    report("TCP_NODELAY", stream.set_nodelay(true));
    report("keepalive", SockRef::from(stream).set_tcp_keepalive(&keepalive));
}

/// Ends a connection so that the other end sees an error (RST) and not a proper end (FIN): what was sent so far
/// is not all there is.
///
/// Bytes not yet delivered are lost, in both directions.
pub fn reset(stream: TcpStream) {
    report("SO_LINGER", stream.set_zero_linger());
    drop(stream);
}

fn report(option: &'static str, result: io::Result<()>) {
    if let Err(error) = result {
        debug!(option, %error, "socket option refused");
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::TcpListener};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_lane_has_its_options() {
        let (lane, _far) = pair().await;
        tune_lane(&lane);
        assert!(lane.nodelay().unwrap());
        let socket = SockRef::from(&lane);
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        {
            assert_eq!(socket.tcp_keepalive_time().unwrap(), LANE_IDLE);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), LANE_INTERVAL);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), LANE_PROBES);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(LANE_UNACKED));
            assert_eq!(socket.tcp_notsent_lowat().unwrap(), LANE_UNSENT);
        }
    }

    #[tokio::test]
    async fn a_visitor_has_its_options() {
        let (visitor, _far) = pair().await;
        tune_visitor(&visitor);
        assert!(visitor.nodelay().unwrap());
        assert!(SockRef::from(&visitor).keepalive().unwrap());
    }

    #[tokio::test]
    async fn a_reset_is_no_end_of_file() {
        let (near, mut far) = pair().await;
        reset(near);
        let error = far.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
