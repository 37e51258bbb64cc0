//! A local service to forward to.

use tokio::net::{TcpListener, TcpStream};

use super::soon;

pub(crate) struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    pub(crate) async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    pub(crate) async fn accept(&self) -> TcpStream {
        soon(self.listener.accept()).await.unwrap().0
    }

    /// An address where nobody listens.
    pub(crate) async fn nobody() -> String {
        Self::new().await.address()
    }
}
