//! A listening socket whose accept loop cannot end.
//!
//! `accept` fails for reasons that have nothing to do with the listener: a peer that hung up while queued, or a
//! process out of file descriptors. A loop that returns on the first kind stops serving; a loop that retries the
//! second kind at once burns a core exactly when the machine is in trouble. So errors stay in here.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Mutex,
    time::Duration,
};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};
use tracing::warn;

/// Connections the kernel completes ahead of `accept`; it cuts this down to its own limit.
const BACKLOG: i32 = 1024;
/// First and longest wait while resources are short.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A shortage lasts for thousands of failed accepts; one line per this long tells as much.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// A listening TCP socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    logged: RateLimit,
}

impl Listener {
    /// Listens on `address`; port 0 lets the system choose. A restarted server gets its port back at once
    /// (`SO_REUSEADDR`). `[::]` takes IPv4 too, and is `0.0.0.0` on a machine without IPv6.
    ///
    /// # Errors
    ///
    /// The address is in use, not of this machine, or needs privileges.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::from_std(listening(address)?.into())
    }

    /// Takes over a socket that listens already, as handed over by a service manager or a previous process.
    ///
    /// # Errors
    ///
    /// The socket cannot be used without blocking.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn from_std(socket: std::net::TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: TcpListener::from_std(socket)?, logged: RateLimit::default() })
    }

    /// Another handle to the same socket, for another process: whoever accepts a connection has it.
    ///
    /// # Errors
    ///
    /// There is no file descriptor left.
    pub fn share(&self) -> io::Result<std::net::TcpListener> {
        Ok(SockRef::from(&self.socket).try_clone()?.into())
    }

    /// The address listened on, with the port the system chose.
    ///
    /// # Errors
    ///
    /// When the system no longer knows the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection and where it comes from. An IPv4 address is always given as one, whatever the socket.
    ///
    /// Errors are logged, not returned. While the system is out of file descriptors or memory it waits, from
    /// 50 ms up to 1 s between tries, and connections wait in the kernel's queue.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost by dropping it.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        canonical(until_accepted(&self.logged, || self.socket.accept()).await)
    }

    /// The same for visitors, who are better told at once: while the system is out of file descriptors, each connection
    /// is taken in the place of the `spare` one and given to `refuse`, to be told so and dropped.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost by dropping it.
    pub async fn accept_or(
        &self,
        spare: &Spare,
        refuse: impl Fn(TcpStream, SocketAddr),
    ) -> (TcpStream, SocketAddr) {
        let mut pause = PAUSE_MIN;
        loop {
            match self.socket.accept().await {
                Ok(accepted) => return canonical(accepted),
                Err(error) if is_about_one_peer(&error) => continue,
                Err(error) => self.logged.warn(&error),
            }
            if spare.spend() {
                let accepted = timeout(pause, self.socket.accept()).await;
                let has_room = spare.refill();
                match accepted {
                    Ok(Ok(accepted)) if has_room => return canonical(accepted),
                    Ok(Ok(accepted)) => {
                        let (stream, address) = canonical(accepted);
                        refuse(stream, address);
                        spare.refill();
                    }
                    Ok(Err(_)) => sleep(pause).await,
                    Err(_elapsed) => {}
                }
            } else {
                // Another listener's visitor has it just now, or something else took it.
                sleep(pause).await;
                spare.refill();
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// A file descriptor that is kept for when there is no other. With it, a connection can be taken just to say that there
/// is no room: without, it would hang in the kernel's queue, and the visitor with it.
#[derive(Debug)]
pub struct Spare(Mutex<Option<Socket>>);

impl Spare {
    /// Keeps one, if there is one.
    pub fn new() -> Self {
        let spare = Self(Mutex::default());
        spare.refill();
        spare
    }

    /// Gives it up for the next connection. Whether there was one.
    fn spend(&self) -> bool {
        self.lock().take().is_some()
    }

    /// Whether there is one again.
    fn refill(&self) -> bool {
        let mut spare = self.lock();
        if spare.is_none() {
            // Never connected: it is there to be closed.
            *spare = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).ok();
        }
        spare.is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Socket>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Default for Spare {
    fn default() -> Self {
        Self::new()
    }
}

fn listening(address: SocketAddr) -> io::Result<Socket> {
    let (address, socket) = match Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
    {
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            (v4, Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?)
        }
        made => (address, made?),
    };
    // On Windows this would let another process take the port over.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn canonical((stream, address): (TcpStream, SocketAddr)) -> (TcpStream, SocketAddr) {
    (stream, SocketAddr::new(address.ip().to_canonical(), address.port()))
}

async fn until_accepted<T, F>(logged: &RateLimit, mut accept: impl FnMut() -> F) -> T
where
    F: Future<Output = io::Result<T>>,
{
    let mut pause = PAUSE_MIN;
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_about_one_peer(&error) => continue,
            Err(error) => logged.warn(&error),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Whether the error took one queued connection with it, so that the next try is about another (accept(2)).
/// Everything unknown counts as lasting: pausing is never wrong, only slow.
fn is_about_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted,
        NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkUnreachable
    )
}

/// Lets one through per [`LOG_EVERY`].
#[derive(Debug, Default)]
struct RateLimit(Mutex<Option<Instant>>);

impl RateLimit {
    fn warn(&self, error: &io::Error) {
        if self.permits(Instant::now()) {
            warn!(%error, "cannot accept connections, trying again; is the limit of open files too low?");
        }
    }

    fn permits(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let due = last.is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_shortage_is_waited_out_without_spinning() {
        let mut left = 7;
        let start = Instant::now();
        let accept = || {
            left -= 1;
            let result = if left > 0 { Err(io::Error::from_raw_os_error(24)) } else { Ok(()) };
            async move { result }
        };
        until_accepted(&RateLimit::default(), accept).await;
        // 50 + 100 + 200 + 400 + 800 + 1000 ms
        assert_eq!(start.elapsed(), Duration::from_millis(2550));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_hung_up_costs_nothing() {
        let mut left = 100;
        let start = Instant::now();
        let accept = || {
            left -= 1;
            let result = if left > 0 { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) };
            async move { result }
        };
        until_accepted(&RateLimit::default(), accept).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn errors_are_told_apart() {
        let about_one_peer = |code| is_about_one_peer(&io::Error::from_raw_os_error(code));
        // EINTR, ECONNABORTED, ECONNRESET, EHOSTUNREACH, ENETUNREACH
        assert!([4, 103, 104, 113, 101].into_iter().all(about_one_peer));
        // ENFILE, EMFILE, ENOBUFS, ENOMEM, EBADF, EINVAL
        assert!(![23, 24, 105, 12, 9, 22].into_iter().any(about_one_peer));
    }

    #[tokio::test(start_paused = true)]
    async fn one_line_per_ten_seconds() {
        let limit = RateLimit::default();
        let start = Instant::now();
        assert!(limit.permits(start));
        assert!(!limit.permits(start + LOG_EVERY / 2));
        assert!(limit.permits(start + LOG_EVERY));
        assert!(!limit.permits(start + LOG_EVERY));
    }

    #[tokio::test]
    async fn the_unspecified_v6_address_takes_v4_and_says_so() {
        let listener = Listener::bind("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let near = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let (_far, address) = listener.accept().await;
        assert_eq!(address, near.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_socket_handed_over_works() {
        let given = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = given.local_addr().unwrap();
        let listener = Listener::from_std(given).unwrap();
        assert_eq!(listener.local_addr().unwrap(), address);
        let _near = TcpStream::connect(address).await.unwrap();
        listener.accept().await;
    }

    #[tokio::test]
    async fn a_shared_socket_goes_on_when_one_of_its_owners_ends() {
        let first = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let second = Listener::from_std(first.share().unwrap()).unwrap();
        let _waiting = TcpStream::connect(address).await.unwrap();
        drop(first);
        second.accept().await;
    }

    #[tokio::test]
    async fn a_port_in_use_is_an_error() {
        let first = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = Listener::bind(first.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
