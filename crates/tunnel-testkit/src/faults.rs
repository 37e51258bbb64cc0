//! A TCP relay that fails on purpose: between a client and its server it plays the network.
//!
//! The failure that matters most is the half-open one: nothing is forwarded any more and every socket stays open,
//! as when a NAT forgets a connection or a laptop's link goes away.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// A relay in front of one address. Everything ends when it is dropped.
#[derive(Debug)]
pub struct FaultRelay {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    cut: Arc<Mutex<CancellationToken>>,
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    _accepting: AbortOnDropHandle<()>,
}

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Weather {
    /// Connections of an earlier generation than this forward nothing, ever again.
    stalled_before: usize,
    /// Nor does this one.
    stalled: Option<usize>,
    /// New connections are closed at once.
    refusing: bool,
    /// Added before each piece is passed on.
    delay: Duration,
    /// Bytes a second, each direction; 0 is unlimited.
    rate: usize,
}

impl Weather {
    fn has_stalled(&self, number: usize) -> bool {
        self.stalled_before > number || self.stalled == Some(number)
    }
}

impl FaultRelay {
    /// A relay that forwards faithfully, for now.
    ///
    /// # Errors
    /// No port on loopback could be opened.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let calm =
            Weather { stalled_before: 0, stalled: None, refusing: false, delay: Duration::ZERO, rate: 0 };
        let weather = watch::Sender::new(calm);
        let cut = Arc::new(Mutex::new(CancellationToken::new()));
        let (open, accepted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let accepting =
            accept(listener, target, weather.clone(), cut.clone(), open.clone(), accepted.clone());
        // The relay's task is owned by the handle inside.
        #[expect(clippy::disallowed_methods, reason = "owned: wrapped in AbortOnDropHandle")]
        let accepting = AbortOnDropHandle::new(tokio::spawn(accepting));
        Ok(Self { address, weather, cut, open, accepted, _accepting: accepting })
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Goes half-open: the connections there are forward nothing any more and stay open. New ones work.
    pub fn go_half_open(&self) {
        let accepted = self.accepted.load(Ordering::SeqCst);
        self.weather.send_modify(|weather| weather.stalled_before = accepted);
    }

    /// Has one connection go half-open: the first is number 0.
    pub fn stall(&self, number: usize) {
        self.weather.send_modify(|weather| weather.stalled = Some(number));
    }

    /// Cuts the connections there are, with a reset to both ends.
    pub fn cut(&self) {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *cut).cancel();
    }

    /// Closes new connections at once, or takes them again.
    pub fn refuse(&self, refusing: bool) {
        self.weather.send_modify(|weather| weather.refusing = refusing);
    }

    /// Passes each piece on only after this long.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Passes on at most this many bytes a second in each direction of each connection; 0 is unlimited.
    pub fn limit_rate(&self, rate: usize) {
        self.weather.send_modify(|weather| weather.rate = rate);
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    weather: watch::Sender<Weather>,
    cut: Arc<Mutex<CancellationToken>>,
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((near, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        if weather.borrow().refusing {
            continue;
        }
        let number = accepted.fetch_add(1, Ordering::SeqCst);
        let cut = cut.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (weather, open) = (weather.subscribe(), open.clone());
        connections.spawn(async move {
            let Ok(far) = TcpStream::connect(target).await else { return };
            let _counted = Counted::new(open);
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            tokio::select! {
                () = both(near, far, number, weather) => {}
                () = cut.cancelled() => {}
            }
        });
    }
}

async fn both(near: TcpStream, far: TcpStream, number: usize, weather: watch::Receiver<Weather>) {
    // A cut drops the sockets: with this they reset instead of ending cleanly.
    let _ = (near.set_zero_linger(), far.set_zero_linger());
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let up = one_way(near_read, far_write, number, weather.clone());
    let down = one_way(far_read, near_write, number, weather);
    tokio::join!(up, down);
}

async fn one_way(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    number: usize,
    mut weather: watch::Receiver<Weather>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            () = stalled(&mut weather, number) => return std::future::pending().await,
        };
        let now = *weather.borrow();
        let Ok(n) = read else { return };
        if n == 0 {
            let _ = to.shutdown().await;
            return;
        }
        let mut wait = now.delay;
        if now.rate > 0 {
            wait += Duration::from_secs_f64(n as f64 / now.rate as f64);
        }
        if !wait.is_zero() {
            // sleep: the relay plays a slow link
            tokio::time::sleep(wait).await;
        }
        if weather.borrow().has_stalled(number) {
            return std::future::pending::<()>().await;
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}

async fn stalled(weather: &mut watch::Receiver<Weather>, number: usize) {
    if weather.wait_for(|weather| weather.has_stalled(number)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
