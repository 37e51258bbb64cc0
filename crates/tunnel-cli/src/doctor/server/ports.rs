//! Whether the server's ports are free, or its own already.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use tunnel_transport::{Listener, ServerAddress, TcpDialer, Trust};

use crate::{
    doctor::check::{Check, Fault},
    resolve::server::ServerPlan,
    state::identity,
};

/// The flag of the port for clients.
pub(crate) const CONTROL: &str = "--control-port";

/// A port that the server listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Door {
    /// The flag that names it.
    pub(crate) flag: &'static str,
    pub(crate) address: SocketAddr,
}

impl Door {
    /// Those of a plan.
    pub(crate) fn all(plan: &ServerPlan) -> Vec<Self> {
        let doors = [
            Some(Self { flag: CONTROL, address: plan.control }),
            Some(Self { flag: "--public-port", address: plan.web }),
            plan.https.map(|address| Self { flag: "--https-port", address }),
        ];
        doors.into_iter().flatten().collect()
    }
}

/// For a server on this very machine to show its key.
const GREETING: Duration = Duration::from_secs(2);

/// Whether the server that keeps its state in `data` runs: it answers at its socket, or shows its key at `control`.
pub(crate) async fn is_running(data: &Path, control: SocketAddr) -> bool {
    #[cfg(unix)]
    if tokio::net::UnixStream::connect(data.join("admin.sock")).await.is_ok() {
        return true;
    }
    greets(data, control).await.is_some()
}

async fn greets(data: &Path, control: SocketAddr) -> Option<()> {
    let (certificate, key) = identity::paths(data);
    let pin = identity::load(&certificate, &key).ok()?.pin();
    let ip = if control.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { control.ip() };
    let server = ServerAddress::new(ip.to_string(), control.port()).ok()?;
    let dialer = TcpDialer::new(server, Trust::Pinned(pin)).ok()?.with_timeout(GREETING);
    let stream = dialer.reach(SocketAddr::new(ip, control.port())).await.ok()?;
    dialer.greet(stream).await.ok().map(drop)
}

/// Opens each for a moment.
///
/// # Cancel safety
/// Cancel safe.
pub(crate) async fn ports(doors: &[Door], data: &Path) -> Vec<Check> {
    let control = doors.iter().find(|door| door.flag == CONTROL);
    let is_running = match control {
        Some(control) => is_running(data, control.address).await,
        None => false,
    };
    let mut findings = Vec::new();
    for door in doors.iter().filter(|door| door.address.port() != 0) {
        match Listener::bind(door.address) {
            Ok(_) => findings.push(format!("{} free", door.address.port())),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_running => {
                findings.push(format!("{} in use while the server runs", door.address.port()));
            }
            Err(error) => return vec![Check::failed("ports", fault(*door, &error))],
        }
    }
    let running = if is_running { "the server runs" } else { "the server doesn't run" };
    vec![Check::ok("ports", format!("{} ({running})", findings.join(", ")))]
}

fn fault(door: Door, error: &io::Error) -> Fault {
    let port = door.address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => Fault::new(
            format!("port {port} is taken by another program"),
            format!(
                "see which: ss -ltnp sport = :{port}; stop it, or choose another port with {}",
                door.flag
            ),
        ),
        io::ErrorKind::PermissionDenied => Fault::new(
            format!("port {port} needs a privilege that this user doesn't have"),
            format!("run this as root, or choose a port from 1024 with {}", door.flag),
        ),
        io::ErrorKind::AddrNotAvailable => Fault::new(
            format!("{} is no address of this machine", door.address.ip()),
            "correct --bind, or leave it out",
        ),
        _ => Fault::new(format!("port {port} can't be listened on: {error}"), format!("check {}", door.flag)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    #[tokio::test]
    async fn a_port_is_free_or_somebody_s() {
        let home = tempfile::tempdir().unwrap();
        let taken = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let door = Door { flag: CONTROL, address: taken.local_addr().unwrap() };
        let check = ports(&[door], home.path()).await.remove(0);
        assert_eq!(check.status, Status::Failed);
        assert!(check.cure.unwrap().contains(CONTROL));
        drop(taken);
        let check = ports(&[door], home.path()).await.remove(0);
        assert_eq!(check.status, Status::Ok, "{check:?}");
        #[cfg(unix)]
        {
            let _server = tokio::net::UnixListener::bind(home.path().join("admin.sock")).unwrap();
            let _taken = Listener::bind(door.address).unwrap();
            let check = ports(&[door], home.path()).await.remove(0);
            assert_eq!(check.status, Status::Ok, "its own server has it: {check:?}");
        }
    }

    #[test]
    fn every_failure_has_its_cure() {
        let door = Door { flag: "--bind", address: "192.0.2.1:80".parse().unwrap() };
        for (kind, text) in [
            (io::ErrorKind::PermissionDenied, "privilege"),
            (io::ErrorKind::AddrNotAvailable, "no address of this machine"),
            (io::ErrorKind::Other, "can't be listened on"),
        ] {
            let fault = fault(door, &kind.into());
            assert!(fault.what.contains(text) && !fault.cure.is_empty(), "{fault:?}");
        }
    }
}
