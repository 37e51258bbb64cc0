//! Tunnels as their owner sees them: handles that outlive any one session, and give the name back when dropped.

mod spec;
mod tls;
mod udp;

mod conn;
mod listener;

#[cfg(feature = "axum")]
mod axum;

pub(crate) mod table;

use std::fmt;

use tokio::{sync::watch, task::JoinSet};
use tunnel_protocol::{TunnelId, bind::PublicAddress};

#[cfg(feature = "axum")]
pub use self::axum::Visitor;
use self::table::{Former, Registration};
pub use self::{
    conn::Conn,
    listener::Listener,
    spec::{HttpTunnel, TcpTunnel},
    tls::TlsTunnel,
    udp::UdpTunnel,
};
use crate::{BindError, TunnelEnd};

/// Whether a tunnel can be visited, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TunnelState {
    /// Asked for, never online yet.
    Binding,
    /// Visitors can come.
    Online(PublicAddress),
    /// Was online; the client is reconnecting, and asks for the same address.
    Away(PublicAddress),
    /// Over, for the reason of [`Tunnel::closed`].
    Ended,
}

impl TunnelState {
    /// The public address, also while the client is away.
    pub fn address(&self) -> Option<&PublicAddress> {
        match self {
            Self::Online(address) | Self::Away(address) => Some(address),
            Self::Binding | Self::Ended => None,
        }
    }

    /// Whether visitors can come now.
    pub fn is_online(&self) -> bool {
        matches!(self, Self::Online(_))
    }
}

/// A tunnel that is being forwarded to an upstream.
///
/// It stays published, through reconnects, until it is dropped or closed, or the client ends. Visitors already
/// connected stay so.
pub struct Tunnel {
    registration: Registration,
    /// Whoever serves its visitors, if that is in here.
    serving: JoinSet<()>,
}

impl Tunnel {
    pub(crate) fn new(registration: Registration) -> Self {
        Self { registration, serving: JoinSet::new() }
    }

    /// The same, with something that runs for as long as the tunnel is kept.
    #[cfg(feature = "files")]
    pub(crate) fn served_by(mut self, serving: impl Future<Output = ()> + Send + 'static) -> Self {
        self.serving.spawn(serving);
        self
    }

    /// Where visitors go: `http://myapp.vps.example.com`. The last known address while the client is away.
    ///
    /// A random name or port may change at a reconnect, though the client asks for the same one.
    pub fn url(&self) -> String {
        self.registration.entry.address().map(|address| address.url().to_owned()).unwrap_or_default()
    }

    /// The public address in parts; `None` once the tunnel has ended.
    pub fn address(&self) -> Option<PublicAddress> {
        self.registration.entry.address()
    }

    /// Its id within the client, as in events.
    pub fn id(&self) -> TunnelId {
        self.registration.entry.id
    }

    /// Whether it can be visited now.
    pub fn state(&self) -> TunnelState {
        self.registration.entry.state()
    }

    /// Every change of [`Tunnel::state`] from now on.
    pub fn watch(&self) -> watch::Receiver<TunnelState> {
        self.registration.entry.watch()
    }

    /// Waits until the tunnel is over. The future doesn't borrow the tunnel, and doesn't keep it.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub fn closed(&self) -> impl Future<Output = TunnelEnd> + Send + 'static + use<> {
        let entry = self.registration.entry.clone();
        async move { entry.ended().await }
    }

    /// Takes the tunnel down for new visitors and gives its name back. Those under way are served for as long as the
    /// handle lives.
    pub fn withdraw(&self) {
        self.registration.withdraw();
    }

    /// Takes the tunnel down, as dropping it does.
    pub fn close(self) {
        drop(self.serving);
    }

    /// What another one must know to take its place.
    fn as_former(&self) -> Former {
        Former { id: self.id(), address: self.address() }
    }

    /// Waits until the tunnel is online for the first time.
    async fn online(mut self) -> Result<Self, BindError> {
        let mut state = self.watch();
        // The entry holds the sender, so waiting can't fail.
        let _ = state.wait_for(|state| !matches!(state, TunnelState::Binding)).await;
        if matches!(*state.borrow(), TunnelState::Ended) {
            return Err(match self.registration.entry.ended().await {
                TunnelEnd::Refused(refusal) => BindError::Refused(refusal),
                TunnelEnd::Client(reason) => BindError::Ended(reason),
                TunnelEnd::Closed | TunnelEnd::Replaced => BindError::Ended(None),
            });
        }
        let expiry = self.registration.end_when_expired();
        expiry.into_iter().for_each(|expiry| drop(self.serving.spawn(expiry)));
        Ok(self)
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("id", &self.id()).field("state", &self.state()).finish()
    }
}
