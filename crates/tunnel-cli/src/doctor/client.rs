//! The client's side: the way to the server, step by step, and the upstream.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};
use tunnel_client::{DialError, Pin, Trust, Upstream};
use tunnel_transport::{Handshake, TcpDialer, TlsProblem};

use super::{
    BUDGET,
    check::{Check, Fault, Report, took},
    ladder::Ladder,
    login, upstream,
};
use crate::{output::chain, resolve::client::Target};

/// What is looked at on the way, in order.
const STEPS: [&str; 9] = ["dns", "tcp", "tls", "pin", "version", "login", "clock", "heartbeat", "udp"];
/// For a name to be looked up.
const LOOKUP: Duration = Duration::from_millis(2_500);
/// For each of: TCP, TLS.
const STEP: Duration = Duration::from_millis(2_500);
/// How much longer the other addresses have once one has answered.
const OTHERS: Duration = Duration::from_millis(700);
/// Most addresses of one name that are tried.
const ADDRESSES: usize = 8;

/// Whom to look at.
#[derive(Debug)]
pub(crate) struct Patient {
    /// The server; or why none is known.
    pub(crate) target: Result<Target, String>,
    pub(crate) upstream: Option<Upstream>,
}

/// Looks at everything.
///
/// # Cancel safety
/// Dropping it closes what was opened.
pub(crate) async fn examine(patient: &Patient) -> Report {
    let deadline = Instant::now() + BUDGET;
    let (way, upstream) = tokio::join!(
        way(patient.target.as_ref(), deadline),
        upstream::examine(patient.upstream.as_ref(), patient.target.as_ref().ok()),
    );
    let subject = match &patient.target {
        Ok(target) => target.server.to_string(),
        Err(_) => "no server".into(),
    };
    Report { side: "client", subject, checks: way.into_iter().chain([upstream]).collect() }
}

async fn way(target: Result<&Target, &String>, deadline: Instant) -> Vec<Check> {
    let mut ladder = Ladder::new(deadline);
    match target {
        // What keeps it from going on is in the checks.
        Ok(target) => drop(climb(&mut ladder, target).await),
        Err(reason) => {
            let fault = Fault::of_line(reason, "tunnel login HOST:PORT");
            ladder.note(Check::failed("dns", fault));
        }
    }
    ladder.finish(&STEPS)
}

async fn climb(ladder: &mut Ladder, target: &Target) -> Option<()> {
    let trust = target.effective_trust();
    let made = TcpDialer::new(target.server.clone(), trust.clone());
    let dialer = match made {
        Ok(dialer) => dialer.with_timeout(STEP),
        Err(error) => {
            ladder.note(Check::failed("pin", Fault::of_line(&chain(&error), "check --ca-file")));
            return None;
        }
    };
    let stream = connect(ladder, &dialer, target).await?;
    shake_hands(ladder, &dialer, &trust, stream).await?;
    login::examine(ladder, target).await
}

/// DNS and TCP.
async fn connect(ladder: &mut Ladder, dialer: &TcpDialer, target: &Target) -> Option<TcpStream> {
    if let Some(proxy) = &target.proxy {
        ladder.note(Check::skipped("dns", format!("the proxy {proxy} looks the name up")));
        let dialer = dialer.clone().with_proxy(proxy.clone());
        let by_proxy = async {
            let start = Instant::now();
            let stream = dialer.reach_by_proxy(proxy).await.map_err(|error| fault(&error))?;
            Ok((stream, format!("through the proxy {proxy} in {}", took(start.elapsed()))))
        };
        return ladder.climb("tcp", STEP, by_proxy).await;
    }
    let lookup = async {
        let start = Instant::now();
        let found = dialer.clone().with_timeout(LOOKUP).find().await.map_err(|error| fault(&error))?;
        let finding = match target.server.host().parse::<std::net::IpAddr>() {
            Ok(_) => "an address, no name to look up".into(),
            Err(_) => format!("{} in {}", addresses(&found), took(start.elapsed())),
        };
        Ok((found, finding))
    };
    let found = ladder.climb("dns", LOOKUP, lookup).await?;
    let (stream, check) = reach_all(dialer, found).await;
    ladder.note(check);
    stream
}

/// Tries every address, so that a dead one that a connection would get around is told.
async fn reach_all(dialer: &TcpDialer, addresses: Vec<SocketAddr>) -> (Option<TcpStream>, Check) {
    let mut attempts = JoinSet::new();
    let mut waiting: Vec<_> = addresses.into_iter().take(ADDRESSES).collect();
    waiting.sort_unstable();
    waiting.dedup();
    for address in waiting.clone() {
        let dialer = dialer.clone();
        attempts.spawn(async move {
            let start = Instant::now();
            (address, dialer.reach(address).await, start.elapsed())
        });
    }
    let (mut stream, mut reached, mut failed) = (None, Vec::new(), Vec::new());
    loop {
        let next = match stream {
            None => attempts.join_next().await,
            Some(_) => timeout(OTHERS, attempts.join_next()).await.unwrap_or(None),
        };
        let Some(Ok((address, outcome, time))) = next else { break };
        waiting.retain(|waiting| *waiting != address);
        match outcome {
            Ok(connected) => {
                reached.push(format!("{} in {}", address.ip(), took(time)));
                stream.get_or_insert(connected);
            }
            Err(error) => failed.push((address, error)),
        }
    }
    let check = tell_reached(&reached, &failed, &waiting);
    (stream, check)
}

fn tell_reached(reached: &[String], failed: &[(SocketAddr, DialError)], silent: &[SocketAddr]) -> Check {
    if reached.is_empty() {
        let fault = match failed {
            [(_, error), ..] => fault(error),
            [] => Fault::new("there is no address to connect to", "check the server's DNS records"),
        };
        return Check::failed("tcp", fault);
    }
    let dead = failed.iter().map(|(address, error)| format!("{} not: {}", address.ip(), cause(error)));
    let silent = silent.iter().map(|address| format!("{} not: no answer yet", address.ip()));
    let dead: Vec<_> = dead.chain(silent).collect();
    if dead.is_empty() {
        return Check::ok("tcp", reached.join(", "));
    }
    let what = format!("{}; {}", reached.join(", "), dead.join(", "));
    let cure = "clients get around it; remove the DNS record of the address that is dead, or open it in the \
                server's firewall, for visitors may be slow or fail";
    Check::warning("tcp", Fault::new(what, cure))
}

/// TLS and pin: two questions that one handshake answers.
async fn shake_hands(
    ladder: &mut Ladder,
    dialer: &TcpDialer,
    trust: &Trust,
    stream: TcpStream,
) -> Option<()> {
    let start = Instant::now();
    let greeting = timeout(STEP, dialer.greet(stream)).await.unwrap_or_else(|_| {
        Err(DialError::Other("the handshake took too long; check this machine's load".into()))
    });
    match greeting {
        Ok(Handshake { key_exchange: None, .. }) => {
            ladder.note(Check::skipped("tls", "none, as told by --plaintext"));
            ladder.note(Check::skipped("pin", "none, as told by --plaintext"));
            Some(())
        }
        Ok(handshake) => {
            let exchange = handshake.key_exchange.as_deref().unwrap_or_default();
            ladder.note(Check::ok("tls", format!("TLS 1.3 with {exchange} in {}", took(start.elapsed()))));
            ladder.note(Check::ok("pin", known(trust, &handshake)));
            Some(())
        }
        Err(error) => {
            let problem = if let DialError::Tls { problem, .. } = &error { Some(problem) } else { None };
            let (tls, which) = match problem {
                Some(TlsProblem::NotYetValid) => (true, "clock"),
                Some(
                    TlsProblem::PinMismatch { .. }
                    | TlsProblem::UntrustedCertificate { .. }
                    | TlsProblem::Expired,
                ) => (true, "pin"),
                _ => (false, "tls"),
            };
            if tls {
                ladder.note(Check::ok("tls", format!("it speaks TLS, {}", took(start.elapsed()))));
            }
            ladder.note(Check::failed(which, fault(&error)));
            None
        }
    }
}

fn known(trust: &Trust, handshake: &Handshake) -> String {
    let Some(certificate) = &handshake.certificate else { return "known".into() };
    let until = match certificate.valid {
        Some((_, until)) => format!(", valid until {}", day(until)),
        None => String::new(),
    };
    match trust {
        Trust::Pinned(pin) => format!("the key {} is the one in the token", short(*pin)),
        Trust::CaFile(_) => format!("the certificate is from the issuer in --ca-file{until}"),
        _ => format!("the certificate is from an issuer that this system trusts{until}"),
    }
}

fn short(pin: Pin) -> String {
    format!("{pin:.16}…")
}

pub(super) fn day(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string().chars().take(10).collect()
}

fn addresses(found: &[SocketAddr]) -> String {
    let mut seen: Vec<_> = found.iter().map(|address| address.ip().to_string()).collect();
    seen.dedup();
    seen.truncate(ADDRESSES);
    seen.join(", ")
}

/// What a dial failed at, with its cure.
fn fault(error: &DialError) -> Fault {
    let told = Fault::of_line(&error.to_string(), "check the server's address, and its log");
    match std::error::Error::source(error) {
        Some(source) => Fault { what: format!("{} ({})", told.what, chain(source)), ..told },
        None => told,
    }
}

fn cause(error: &DialError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), chain)
}

#[cfg(test)]
mod tests;
