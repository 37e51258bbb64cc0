//! The way that clients and visitors come: by the public name, from this machine to itself. Where no server runs yet,
//! the ports are listened on for a moment, to see whether the name leads to them.
//!
//! Some routers don't lead a machine back to itself by its public address, so that a failure is a hint and no proof.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tunnel_transport::{Listener, ServerAddress, TcpDialer, Trust};

use super::ports::{Door, is_running};
use crate::{
    doctor::check::{Check, Fault, took},
    output::chain,
    resolve::server::{ServerPlan, Tls},
    state::identity,
};

/// For each step.
const STEP: Duration = Duration::from_secs(2);
const CAVEAT: &str = "some routers don't lead a machine back to itself, so try `tunnel doctor` on a laptop, too; if that \
                      fails, open the port in this machine's and its provider's firewall";

pub(super) async fn examine(plan: &ServerPlan) -> Vec<Check> {
    if !is_running(&plan.data, plan.control).await {
        return vec![rehearse(plan.config.domain.as_str(), &Door::all(plan)).await];
    }
    let (control, web) = tokio::join!(control(plan), web(plan));
    vec![found("public", control), found("web", web)]
}

/// Whether the name leads to the ports of this machine, while nobody listens on them.
///
/// # Cancel safety
/// Dropping it closes what was opened.
pub(crate) async fn rehearse(domain: &str, doors: &[Door]) -> Check {
    let mut led = Vec::new();
    for door in doors.iter().filter(|door| door.address.port() != 0) {
        // One that is taken is the business of another check.
        let Ok(listener) = Listener::bind(door.address) else { continue };
        let port = door.address.port();
        let knock = async {
            let (_stream, (_accepted, _)) =
                tokio::try_join!(TcpStream::connect((domain, port)), async { Ok(listener.accept().await) })?;
            Ok::<_, std::io::Error>(())
        };
        let what = match timeout(STEP, knock).await {
            Ok(Ok(())) => {
                led.push(format!("{port}"));
                continue;
            }
            Ok(Err(error)) => format!("{domain} doesn't lead to port {port} of this machine: {error}"),
            Err(_) => format!("{domain} doesn't lead to port {port} of this machine: no answer"),
        };
        return Check::warning("public", Fault::new(what, CAVEAT));
    }
    match led.is_empty() {
        true => Check::skipped("public", "no port could be tried"),
        false => Check::ok("public", format!("{domain} leads to {} of this machine", led.join(" and "))),
    }
}

fn found(name: &'static str, found: Result<String, String>) -> Check {
    match found {
        Ok(finding) => Check::ok(name, finding),
        Err(what) => Check::warning(name, Fault::new(what, CAVEAT)),
    }
}

/// By the control port, with this very server's key at its end.
async fn control(plan: &ServerPlan) -> Result<String, String> {
    let own_pin = || {
        let (certificate, key) = identity::paths(&plan.data);
        identity::load(&certificate, &key).map(|identity| Trust::Pinned(identity.pin()))
    };
    let trust = match plan.tls {
        Tls::Plaintext => Trust::Plaintext,
        Tls::Own => own_pin().map_err(|error| chain(&error))?,
        Tls::Files { .. } => Trust::System,
    };
    let start = Instant::now();
    let server = ServerAddress::new(plan.config.domain.as_str(), plan.control.port());
    let server = server.map_err(|error| error.to_string())?;
    let dialer = TcpDialer::new(server.clone(), trust).map_err(|error| chain(&error))?.with_timeout(STEP);
    let address = dialer.find().await.map_err(|error| chain(&error))?[0];
    let stream = dialer.reach(address).await.map_err(|error| chain(&error))?;
    dialer.greet(stream).await.map_err(|error| chain(&error))?;
    Ok(format!("clients reach this server at {server} in {}", took(start.elapsed())))
}

/// By the web port, which says itself that it has no such tunnel.
async fn web(plan: &ServerPlan) -> Result<String, String> {
    let port = plan.config.public_port.unwrap_or_else(|| plan.web.port());
    let host = format!("doctor-{:08x}.{}", getrandom::u32().unwrap_or_default(), plan.config.domain.as_str());
    let shown = format!("http://{host}:{port}");
    let asked = async {
        let mut stream = TcpStream::connect((host.as_str(), port)).await?;
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(16 * 1024).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).to_lowercase())
    };
    let answer = match timeout(STEP * 2, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(format!("visitors don't reach {shown}: {error}")),
        Err(_) => return Err(format!("visitors don't reach {shown}: no answer")),
    };
    let is_ours = answer.contains("\r\ntunnel-error:") || answer.contains("\r\nlocation: https://");
    if is_ours {
        Ok(format!("visitors reach this server at port {port}"))
    } else {
        Err(format!("something else than this server answers at {shown}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    fn door(address: &str) -> Door {
        let free = std::net::TcpListener::bind(address).unwrap().local_addr().unwrap();
        Door { flag: "--public-port", address: free }
    }

    #[tokio::test]
    async fn a_name_leads_here_or_elsewhere() {
        let doors = [door("127.0.0.1:0"), door("127.0.0.1:0")];
        let check = rehearse("127.0.0.1", &doors).await;
        assert_eq!(check.status, Status::Ok, "{check:?}");
        // A name that leads to another address of this machine stands for one that leads to another machine.
        let check = rehearse("127.0.0.2", &doors).await;
        assert_eq!((check.status, check.cure.is_some()), (Status::Warning, true), "{check:?}");
        assert_eq!(rehearse("127.0.0.1", &[]).await.status, Status::Skipped);
    }
}
