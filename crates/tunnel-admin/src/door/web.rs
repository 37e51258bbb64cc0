//! The port for browsers and programs.
//!
//! On loopback it is plain HTTP, which browsers hold to be as good as TLS there; anywhere else there is TLS and a
//! secret, or no port.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Extension, Router, middleware};
use tokio::time::timeout;
use tunnel_server::{Listener, WebTls};

use super::{
    connection,
    crowd::Crowd,
    guard::{self, Guard, Peer},
    headers,
};
use crate::sign_in::{Secrets, SignIn};

/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why the port isn't opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebDoorError {
    /// Everybody could reach it and nothing would keep anybody out.
    #[error("the admin port on {0} can be reached from elsewhere, so it needs a password or a token")]
    NoSecret(SocketAddr),
    /// Everybody could read along.
    #[error(
        "the admin port on {0} can be reached from elsewhere, so it needs TLS, and there is no certificate"
    )]
    NoTls(SocketAddr),
    /// The listener has no address.
    #[error("the admin port can't be used")]
    Listener(#[from] io::Error),
}

/// A port that was opened, and what guards it.
#[derive(Debug)]
pub struct WebDoor {
    listener: Listener,
    address: SocketAddr,
    tls: Option<WebTls>,
    hosts: Vec<String>,
    secrets: Secrets,
}

impl WebDoor {
    /// A port on `listener`, reached by its address, by `localhost`, or by one of the names in `hosts`.
    ///
    /// # Errors
    /// [`WebDoorError`]: beyond loopback there must be a secret and TLS with a certificate.
    pub fn new(
        listener: Listener,
        tls: Option<WebTls>,
        hosts: Vec<String>,
        secrets: Secrets,
    ) -> Result<Self, WebDoorError> {
        let address = listener.local_addr()?;
        if !address.ip().to_canonical().is_loopback() {
            if secrets.password.is_none() && secrets.token.is_none() {
                return Err(WebDoorError::NoSecret(address));
            }
            if tls.as_ref().is_none_or(|tls| tls.store().is_empty()) {
                return Err(WebDoorError::NoTls(address));
            }
        }
        let hosts = hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        Ok(Self { listener, address, tls, hosts, secrets })
    }

    /// Where a browser on this machine, or with TLS one that knows the first of the names, finds it.
    pub fn url(&self) -> String {
        match (&self.tls, self.hosts.first()) {
            (None, _) => format!("http://{}", self.address),
            (Some(_), Some(host)) => format!("https://{host}:{}", self.address.port()),
            (Some(_), None) => format!("https://{}", self.address),
        }
    }

    pub(crate) fn sign_in(&self) -> Arc<SignIn> {
        Arc::new(SignIn::new(self.secrets.clone()))
    }

    /// Answers until dropped.
    pub(crate) async fn serve(self, routes: Router, sign_in: Arc<SignIn>) {
        let guard = Guard::new(sign_in, self.hosts);
        let routes = routes
            .layer(middleware::from_fn_with_state(guard, guard::check))
            .layer(middleware::map_response(headers::add));
        let mut crowd = Crowd::default();
        loop {
            let (stream, address) = self.listener.accept().await;
            let tls = self.tls.clone();
            crowd.admit(|known| {
                let routes = routes.clone().layer(Extension(Peer(address.ip()))).layer(Extension(known));
                async move {
                    match tls {
                        None => connection::serve(stream, routes).await,
                        Some(tls) => {
                            if let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(stream)).await {
                                connection::serve(stream, routes).await;
                            }
                        }
                    }
                }
            });
        }
    }
}
