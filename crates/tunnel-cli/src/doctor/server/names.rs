//! Whether the domain and the names below it lead to this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use tokio::net::lookup_host;

use crate::doctor::check::{Check, Fault};

/// The domain, and one below it that nobody can have made a record for.
///
/// # Cancel safety
/// Cancel safe.
pub(crate) async fn names(domain: &str) -> Vec<Check> {
    if domain == "localhost" || domain.ends_with(".localhost") {
        let finding = format!("{domain} is this machine for programs on it, and for no others");
        return vec![Check::ok("dns", finding), Check::skipped("wildcard", "as above")];
    }
    if domain.parse::<IpAddr>().is_ok() {
        let fault = Fault::new(
            format!("{domain} is an address, and has no names below it"),
            "TCP and UDP tunnels work; for web tunnels give a domain with --domain",
        );
        return vec![Check::warning("dns", fault)];
    }
    // One that exists by a wildcard only.
    let label = format!("doctor-{:08x}.{domain}", getrandom::u32().unwrap_or_default());
    let wildcard = format!("*.{domain}");
    let (own, below) = tokio::join!(find(domain), find(&label));
    vec![tell("dns", domain, own), tell("wildcard", &wildcard, below)]
}

async fn find(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = lookup_host((name, 0)).await.map_err(|error| error.to_string())?;
    let mut addresses: Vec<_> = found.map(|address| address.ip().to_canonical()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

fn tell(check: &'static str, name: &str, found: Result<Vec<IpAddr>, String>) -> Check {
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            let records = records(name, &addresses_of_this_machine()).join(", ");
            let fault = Fault::new(format!("{name} isn't found ({error})"), format!("add to DNS: {records}"));
            return Check::failed(check, fault);
        }
    };
    let others: Vec<_> = found.iter().filter(|address| !is_here(**address)).map(IpAddr::to_string).collect();
    let all = found.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    if others.is_empty() {
        return Check::ok(check, format!("{name} is {all}, this machine"));
    }
    Check::warning(
        check,
        Fault::new(
            format!("{name} is {all}, of which this machine doesn't have {}", others.join(", ")),
            "right if this machine is behind NAT or its provider's address translation; else correct the DNS record",
        ),
    )
}

/// The DNS records that `name` needs, one a line of a zone file.
pub(crate) fn records(name: &str, addresses: &[IpAddr]) -> Vec<String> {
    let record = |address: &IpAddr| match address {
        IpAddr::V4(v4) => format!("{name}. A {v4}"),
        IpAddr::V6(v6) => format!("{name}. AAAA {v6}"),
    };
    if addresses.is_empty() {
        return vec![format!("{name}. A ADDRESS-OF-THIS-MACHINE")];
    }
    addresses.iter().map(record).collect()
}

/// The addresses by which this machine would speak to the internet, private ones left out. Nothing is sent.
pub(crate) fn addresses_of_this_machine() -> Vec<IpAddr> {
    let outside: [(SocketAddr, SocketAddr); 2] = [
        ((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into()),
        ((Ipv6Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into()),
    ];
    let own = |(any, outside): (SocketAddr, SocketAddr)| {
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(outside).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    outside.into_iter().filter_map(own).filter(|address| is_public(*address)).collect()
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let is_shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || is_shared)
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_unique_local())
        }
    }
}

/// Whether an address is this machine's: only then can a socket have it.
fn is_here(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    #[test]
    fn what_dns_says_is_told() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let elsewhere: IpAddr = "192.0.2.7".parse().unwrap();
        for (found, status, text) in [
            (Ok(vec![loopback]), Status::Ok, "this machine"),
            (Ok(vec![loopback, elsewhere]), Status::Warning, "doesn't have 192.0.2.7"),
            (Err("no such name".to_owned()), Status::Failed, "no such name"),
        ] {
            let check = tell("dns", "vps.example.com", found);
            assert_eq!(check.status, status, "{check:?}");
            assert!(check.finding.contains(text), "{check:?}");
        }
    }

    #[test]
    fn records_are_those_of_a_zone_file() {
        let addresses = ["203.0.113.9", "2001:db8::9"].map(|text| text.parse().unwrap());
        let expected = ["*.a.test. A 203.0.113.9", "*.a.test. AAAA 2001:db8::9"];
        assert_eq!(records("*.a.test", &addresses), expected);
        assert_eq!(records("a.test", &[]), ["a.test. A ADDRESS-OF-THIS-MACHINE"]);
    }

    #[test]
    fn addresses_that_nobody_outside_can_reach_are_no_advice() {
        for (address, expected) in [
            ("203.0.113.9", true),
            ("10.0.0.1", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("127.0.0.1", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("2001:db8::1", true),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[tokio::test]
    async fn localhost_needs_no_dns() {
        assert_eq!(names("localhost").await[0].status, Status::Ok);
        assert_eq!(names("192.0.2.1").await[0].status, Status::Warning);
    }
}
