//! Whether datagrams get through: a UDP tunnel to an echo of our own, for as long as the check takes.
//!
//! There is no shorter way that is honest: that TCP reaches the server says nothing about UDP, and a UDP port without
//! a tunnel answers nobody.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use tokio::{
    net::{UdpSocket, lookup_host},
    time::{Instant, timeout},
};
use tunnel_client::{BindError, Client, Code, PublicAddress, Refusal, Upstream};
use tunnel_transport::{bind_datagrams, connect_datagrams};

use super::check::{Check, Fault, took};
use crate::{output::chain, resolve::client::Target};

/// For the tunnel to be there.
const BIND: Duration = Duration::from_millis(1_500);
/// Datagrams are sent this often, since one may be lost, ...
const TRIES: u32 = 6;
/// ... and waited for this long each.
const PATIENCE: Duration = Duration::from_millis(300);
const WORD: &[u8] = b"tunnel doctor";

/// Sends datagrams through the server to this machine itself.
///
/// # Cancel safety
/// Dropping it takes the tunnel back.
pub(super) async fn examine(client: &Client, target: &Target) -> Check {
    let echo = match bind_datagrams(SocketAddr::from(([127, 0, 0, 1], 0))) {
        Ok(echo) => echo,
        Err(error) => return Check::skipped("udp", format!("no socket on 127.0.0.1: {error}")),
    };
    let Ok(address) = echo.local_addr() else { return Check::skipped("udp", "no socket on 127.0.0.1") };
    tokio::select! {
        never = answer_all(&echo) => match never {},
        check = there_and_back(client, target, address.into()) => check,
    }
}

async fn answer_all(echo: &UdpSocket) -> Infallible {
    let mut buffer = [0; 64];
    loop {
        // What goes wrong with one datagram goes wrong with that one.
        if let Ok((length, from)) = echo.recv_from(&mut buffer).await {
            let _ = echo.send_to(&buffer[..length], from).await;
        }
    }
}

async fn there_and_back(client: &Client, target: &Target, echo: Upstream) -> Check {
    let tunnel = match timeout(BIND, client.udp().fleeting(true).forward(echo)).await {
        Ok(Ok(tunnel)) => tunnel,
        Ok(Err(BindError::Refused(refusal))) => return refused(&refusal),
        Ok(Err(error)) => return Check::skipped("udp", chain(&error)),
        Err(_) => return Check::skipped("udp", "the server gave no port in time"),
    };
    let Some(PublicAddress::Udp { port, .. }) = tunnel.address() else {
        return Check::skipped("udp", "the server gave no port");
    };
    match knock(target, port).await {
        Ok(Some((number, time))) => {
            let lost = if number == 1 { String::new() } else { format!(", {} lost before it", number - 1) };
            Check::ok(
                "udp",
                format!("a datagram came back through port {port} of the server in {}{lost}", took(time)),
            )
        }
        Ok(None) => Check::failed(
            "udp",
            Fault::new(
                format!("none of {TRIES} datagrams to port {port} of the server came back"),
                "open the server's --udp-ports for UDP in its firewall; if they are, this network blocks UDP",
            ),
        ),
        Err(error) if target.proxy.is_some() => {
            Check::skipped("udp", format!("this machine reaches the server by a proxy only ({error})"))
        }
        Err(error) => Check::failed(
            "udp",
            Fault::new(
                format!("no datagram can be sent to port {port} of the server ({error})"),
                "check this machine's routes and firewall",
            ),
        ),
    }
}

/// The server's own choice, which isn't a fault of the network.
fn refused(refusal: &Refusal) -> Check {
    let reason = match refusal.code {
        Code::NotSupported => "the server has no UDP tunnels (--udp-ports)".to_owned(),
        code => format!("the server gives no UDP port ({code}): {}", refusal.message),
    };
    Check::skipped("udp", reason)
}

/// The number of the datagram that came back, and how long it took.
async fn knock(target: &Target, port: u16) -> io::Result<Option<(u32, Duration)>> {
    let mut found = lookup_host((target.server.host(), port)).await?;
    let address = found.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let visitor = connect_datagrams(address)?;
    for number in 1..=TRIES {
        let start = Instant::now();
        // A port that nobody listens at is heard of at the next call, and means as little as a lost datagram.
        let _ = visitor.send(WORD).await;
        let mut buffer = [0; 64];
        if let Ok(Ok(length)) = timeout(PATIENCE, visitor.recv(&mut buffer)).await
            && buffer[..length] == *WORD
        {
            return Ok(Some((number, start.elapsed())));
        }
        tokio::time::sleep_until(start + PATIENCE).await;
    }
    Ok(None)
}
