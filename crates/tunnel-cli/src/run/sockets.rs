//! The server's listening sockets: opened here, or passed on by a service manager that keeps them open over a
//! restart (`LISTEN_FDS`, as systemd's socket units do), so that visitors wait instead of being refused.

use std::{io, net::SocketAddr};

use listenfd::ListenFd;
use tunnel_server::Listener;

use super::Failure;

/// What a passed socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Control,
    Web,
    Https,
}

/// The sockets of a server: at least one for clients and one for the web.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) control: Vec<Listener>,
    pub(super) web: Vec<Listener>,
    /// None, unless asked for.
    pub(super) https: Vec<Listener>,
}

impl Sockets {
    /// Takes what was passed on, and opens what was not.
    pub(super) fn open(
        control: SocketAddr,
        web: SocketAddr,
        https: Option<SocketAddr>,
    ) -> Result<Self, Failure> {
        let ports = (control.port(), web.port(), https.map(|https| https.port()));
        let mut sockets = Self::inherit(ports).map_err(Failure::Inherit)?;
        if sockets.control.is_empty() {
            sockets.control.push(listen(control, "clients", "--control-port")?);
        }
        if sockets.web.is_empty() {
            sockets.web.push(listen(web, "web visitors", "--public-port")?);
        }
        if let Some(https) = https
            && sockets.https.is_empty()
        {
            sockets.https.push(listen(https, "visitors with TLS", "--https-port")?);
        }
        Ok(sockets)
    }

    fn inherit(wanted: Ports) -> io::Result<Self> {
        let mut passed = ListenFd::from_env();
        let mut listeners = Vec::new();
        for index in 0..passed.len() {
            listeners.extend(passed.take_tcp_listener(index)?);
        }
        let ports = listeners.iter().map(|listener| Ok(listener.local_addr()?.port()));
        let roles = assign(&ports.collect::<io::Result<Vec<_>>>()?, wanted);
        let mut sockets = Self { control: Vec::new(), web: Vec::new(), https: Vec::new() };
        for (listener, role) in listeners.into_iter().zip(roles) {
            let listener = Listener::from_std(listener)?;
            match role {
                Role::Control => sockets.control.push(listener),
                Role::Web => sockets.web.push(listener),
                Role::Https => sockets.https.push(listener),
            }
        }
        Ok(sockets)
    }
}

fn listen(address: SocketAddr, whom: &'static str, flag: &'static str) -> Result<Listener, Failure> {
    Listener::bind(address).map_err(|source| Failure::Listen { address, whom, flag, source })
}

/// For clients, for the web, and for visitors with TLS if there are to be any.
type Ports = (u16, u16, Option<u16>);

/// By the port where it is one of those wanted; the others in order, control first where it has none yet.
fn assign(ports: &[u16], (control, web, https): Ports) -> Vec<Role> {
    let by_port = |port: &u16| match *port {
        port if port == control => Some(Role::Control),
        port if port == web => Some(Role::Web),
        port if Some(port) == https => Some(Role::Https),
        _ => None,
    };
    let mut has_control = ports.iter().any(|port| by_port(port) == Some(Role::Control));
    let mut role = |port: &u16| {
        by_port(port).unwrap_or_else(|| {
            if std::mem::replace(&mut has_control, true) { Role::Web } else { Role::Control }
        })
    };
    ports.iter().map(&mut role).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_sockets_find_their_role() {
        use Role::{Control, Https, Web};
        for (ports, expected) in [
            (&[][..], &[][..]),
            (&[4444, 8080], &[Control, Web]),
            (&[8080, 4444], &[Web, Control]),
            (&[8080], &[Web]),
            (&[1, 2], &[Control, Web]),
            (&[80, 4444], &[Web, Control]),
            (&[1, 8080, 3], &[Control, Web, Web]),
            (&[8080, 1], &[Web, Control]),
            (&[8443, 8080, 1], &[Https, Web, Control]),
        ] {
            assert_eq!(assign(ports, (4444, 8080, Some(8443))), expected, "{ports:?}");
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let taken = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = taken.local_addr().unwrap();
        let failure = Sockets::open("127.0.0.1:0".parse().unwrap(), address, None).unwrap_err();
        let line = failure.line();
        assert!(line.contains(&address.to_string()) && line.contains("--public-port"), "{line}");
    }
}
