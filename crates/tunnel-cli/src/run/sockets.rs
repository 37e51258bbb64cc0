//! The server's listening sockets: opened here, or passed on, by a service manager that keeps them open over a restart
//! (`LISTEN_FDS`, as systemd's socket units do) or by the server process whose place this one takes.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use listenfd::ListenFd;
use serde::{Deserialize, Serialize};
use tunnel_server::Listener;

use super::Failure;

/// What a passed socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Role {
    Control,
    Web,
    Https,
    Admin,
}

/// Where a server is to listen; each port may be 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) control: SocketAddr,
    pub(super) web: SocketAddr,
    /// Nowhere, unless asked for.
    pub(super) https: Option<SocketAddr>,
    /// Nowhere, unless asked for.
    pub(super) admin: Option<SocketAddr>,
}

/// The sockets of a server: at least one for clients and one for the web.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    pub(super) control: Vec<Listener>,
    pub(super) web: Vec<Listener>,
    /// None, unless asked for.
    pub(super) https: Vec<Listener>,
    /// None, unless asked for.
    pub(super) admin: Option<Listener>,
}

impl Sockets {
    /// Takes what a service manager passed on, under these names if it said any, and opens what it did not.
    pub(super) fn open(wanted: Wanted, names: &[String]) -> Result<Self, Failure> {
        let passed = passed(wanted, names).map_err(Failure::Inherit)?;
        Self::with(wanted, passed)
    }

    /// Takes these, each for its role, and opens what isn't among them.
    pub(super) fn with(wanted: Wanted, passed: Vec<(Role, TcpListener)>) -> Result<Self, Failure> {
        let mut sockets = Self::default();
        for (role, listener) in passed {
            let listener = Listener::from_std(listener).map_err(Failure::Inherit)?;
            match role {
                Role::Control => sockets.control.push(listener),
                Role::Web => sockets.web.push(listener),
                // One that a former configuration wanted.
                Role::Https if wanted.https.is_none() => {}
                Role::Https => sockets.https.push(listener),
                Role::Admin if wanted.admin.is_none() => {}
                Role::Admin => sockets.admin = Some(listener),
            }
        }
        if sockets.control.is_empty() {
            sockets.control.push(listen(wanted.control, "clients", "--control-port")?);
        }
        if sockets.web.is_empty() {
            sockets.web.push(listen(wanted.web, "web visitors", "--public-port")?);
        }
        if let Some(https) = wanted.https
            && sockets.https.is_empty()
        {
            sockets.https.push(listen(https, "visitors with TLS", "--https-port")?);
        }
        if let Some(admin) = wanted.admin
            && sockets.admin.is_none()
        {
            sockets.admin = Some(listen(admin, "the dashboard", "--admin-port")?);
        }
        Ok(sockets)
    }

    /// Other handles to them all, for a process that takes this one's place.
    pub(super) fn share(&self) -> io::Result<Vec<(Role, TcpListener)>> {
        let all = [
            (Role::Control, &self.control[..]),
            (Role::Web, &self.web[..]),
            (Role::Https, &self.https[..]),
            (Role::Admin, self.admin.as_slice()),
        ];
        let each = all.into_iter().flat_map(|(role, listeners)| listeners.iter().map(move |one| (role, one)));
        each.map(|(role, listener)| Ok((role, listener.share()?))).collect()
    }
}

fn listen(address: SocketAddr, whom: &'static str, flag: &'static str) -> Result<Listener, Failure> {
    Listener::bind(address).map_err(|source| Failure::Listen { address, whom, flag, source })
}

fn passed(wanted: Wanted, names: &[String]) -> io::Result<Vec<(Role, TcpListener)>> {
    let mut passed = ListenFd::from_env();
    let (mut listeners, mut said) = (Vec::new(), Vec::new());
    for index in 0..passed.len() {
        if let Some(listener) = passed.take_tcp_listener(index)? {
            said.push((listener.local_addr()?.port(), names.get(index).map(String::as_str)));
            listeners.push(listener);
        }
    }
    let ports = (wanted.control.port(), wanted.web.port(), wanted.https.map(|https| https.port()));
    Ok(assign(&said, ports).into_iter().zip(listeners).collect())
}

/// For clients, for the web, and for visitors with TLS if there are to be any.
type Ports = (u16, u16, Option<u16>);

/// By the name where it is one of ours (`FileDescriptorName=`); by the port where it is one of those wanted; the others
/// in order, control first where it has none yet.
fn assign(sockets: &[(u16, Option<&str>)], (control, web, https): Ports) -> Vec<Role> {
    let known = |(port, name): &(u16, Option<&str>)| match (*name, *port) {
        (Some("control"), _) => Some(Role::Control),
        (Some("web"), _) => Some(Role::Web),
        (Some("https"), _) => Some(Role::Https),
        (Some("admin"), _) => Some(Role::Admin),
        (_, port) if port == control => Some(Role::Control),
        (_, port) if port == web => Some(Role::Web),
        (_, port) if Some(port) == https => Some(Role::Https),
        _ => None,
    };
    let mut has_control = sockets.iter().any(|socket| known(socket) == Some(Role::Control));
    let mut role = |socket: &(u16, Option<&str>)| {
        known(socket).unwrap_or_else(|| {
            if std::mem::replace(&mut has_control, true) { Role::Web } else { Role::Control }
        })
    };
    sockets.iter().map(&mut role).collect()
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
            let unnamed: Vec<_> = ports.iter().map(|port| (*port, Some("tunnel.socket"))).collect();
            assert_eq!(assign(&unnamed, (4444, 8080, Some(8443))), expected, "{ports:?}");
        }
        let named = [(1, Some("https")), (2, Some("web")), (4444, Some("web")), (3, Some("unknown"))];
        assert_eq!(assign(&named, (4444, 8080, Some(8443))), [Https, Web, Web, Control]);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let taken = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let web = taken.local_addr().unwrap();
        let wanted = Wanted { control: "127.0.0.1:0".parse().unwrap(), web, https: None, admin: None };
        let failure = Sockets::open(wanted, &[]).unwrap_err();
        let line = failure.line();
        assert!(line.contains(&web.to_string()) && line.contains("--public-port"), "{line}");
    }

    #[tokio::test]
    async fn shared_sockets_keep_their_roles() {
        let any = "127.0.0.1:0".parse().unwrap();
        let wanted = Wanted { control: any, web: any, https: Some(any), admin: Some(any) };
        let old = Sockets::open(wanted, &[]).unwrap();
        let new = Sockets::with(wanted, old.share().unwrap()).unwrap();
        for (old, new) in [(&old.control, &new.control), (&old.web, &new.web), (&old.https, &new.https)] {
            assert_eq!(new.len(), 1);
            assert_eq!(old[0].local_addr().unwrap(), new[0].local_addr().unwrap());
        }
        let address = |sockets: &Sockets| sockets.admin.as_ref().unwrap().local_addr().unwrap();
        assert_eq!(address(&old), address(&new));
        let less = Wanted { https: None, admin: None, ..wanted };
        let no_more = Sockets::with(less, old.share().unwrap()).unwrap();
        assert!(no_more.https.is_empty() && no_more.admin.is_none());
    }
}
