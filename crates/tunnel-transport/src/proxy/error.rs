//! What can go wrong with a proxy. Nothing here repeats what was typed: it may hold a password.

use std::io;

/// Why a text is no [`Proxy`](crate::Proxy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseProxyError {
    /// Another kind of proxy, or none.
    #[error("a proxy is written as http://HOST:PORT or socks5://HOST:PORT")]
    Scheme,
    /// A proxy that is itself spoken to over TLS.
    #[error(
        "a proxy that is reached over TLS (https://) is not supported; most proxies take http:// on the same port"
    )]
    Tls,
    /// The host or the port.
    #[error(
        "the proxy's host or port can't be one; write http://HOST:PORT, and percent-encode special characters in a \
         password"
    )]
    Address,
    /// The user or the password.
    #[error(
        "the proxy's user or password can't be sent; percent-encode special characters, and give SOCKS proxies both"
    )]
    Login,
}

/// Why a proxy gave no connection. `Display` is the rest of a sentence that starts with the proxy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyProblem {
    /// It can't be found, or doesn't take connections.
    #[error("can't be reached ({0}); check its address")]
    Unreachable(#[source] io::Error),
    /// It wants user and password, and there were none.
    #[error("wants a user and a password; write http://USER:PASSWORD@HOST:PORT, or socks5://…")]
    NoLogin,
    /// It didn't take user and password.
    #[error("did not accept the user and password")]
    WrongLogin,
    /// It wants a way to log in that isn't spoken here.
    #[error("wants a login of a kind this client doesn't know ({0}); ask its operator for Basic")]
    OtherLogin(String),
    /// It may not connect to the server.
    #[error(
        "does not allow connections to the server ({0}); ask its operator, or let the server listen for clients on \
         port 443, which most proxies allow"
    )]
    Forbidden(&'static str),
    /// It tried, and the server wasn't there.
    #[error("can't reach the server ({0}); check the server's address, and that it runs")]
    NoServer(String),
    /// It said something else.
    #[error("refused the connection ({0})")]
    Refused(String),
    /// What answers there is no proxy, or of another kind.
    #[error(
        "does not answer like a proxy of its kind; check its address, and whether it is http:// or socks5://"
    )]
    NotAProxy,
    /// It hung up.
    #[error("closed the connection before it was through ({0})")]
    Closed(#[source] io::Error),
}

impl ProxyProblem {
    /// Whether trying again is pointless until a person changes something.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Self::NoLogin | Self::WrongLogin | Self::OtherLogin(_) | Self::Forbidden(_) | Self::NotAProxy => {
                true
            }
            Self::Unreachable(_) | Self::NoServer(_) | Self::Refused(_) | Self::Closed(_) => false,
        }
    }
}
