//! From where visitors are let in.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

/// Networks that are allowed and denied. Denied counts before allowed; with none allowed, all are.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    allowed: Vec<IpNet>,
    denied: Vec<IpNet>,
}

impl Networks {
    pub(super) fn allow(&mut self, network: IpNet) {
        self.allowed.push(canonical(network));
    }

    pub(super) fn deny(&mut self, network: IpNet) {
        self.denied.push(canonical(network));
    }

    /// Whether a visitor from this address is let in.
    pub(crate) fn admit(&self, address: IpAddr) -> bool {
        // A socket for both families shows IPv4 visitors as `::ffff:192.0.2.1`.
        let address = address.to_canonical();
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        !is_in(&self.denied) && (self.allowed.is_empty() || is_in(&self.allowed))
    }
}

/// A network of mapped addresses (RFC 4291 §2.5.5.2) is the IPv4 network they stand for.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    let v4 = mapped.and_then(|(address, length): (Ipv4Addr, u8)| Ipv4Net::new(address, length).ok());
    v4.map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn networks(allowed: &[&str], denied: &[&str]) -> Networks {
        let mut networks = Networks::default();
        allowed.iter().for_each(|network| networks.allow(network.parse().unwrap()));
        denied.iter().for_each(|network| networks.deny(network.parse().unwrap()));
        networks
    }

    #[test]
    fn who_is_let_in() {
        type Row = [&'static [&'static str]; 4];
        let table: &[Row] = &[
            [&[], &[], &["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"], &[]],
            [
                &["192.0.2.0/24"],
                &[],
                &["192.0.2.9", "::ffff:192.0.2.9"],
                &["192.0.3.1", "2001:db8::1", "::1"],
            ],
            [&[], &["192.0.2.0/24"], &["192.0.3.1", "2001:db8::1"], &["192.0.2.9", "::ffff:192.0.2.9"]],
            [&["10.0.0.0/8"], &["10.1.0.0/16"], &["10.2.0.1"], &["10.1.0.1", "11.0.0.1"]],
            [&["10.1.0.0/16"], &["10.0.0.0/8"], &[], &["10.1.0.1"]],
            [&["::ffff:10.0.0.0/104"], &[], &["10.9.9.9"], &["11.0.0.1"]],
            [
                &["2001:db8::/32", "127.0.0.1/32"],
                &[],
                &["2001:db8:1::1", "127.0.0.1"],
                &["127.0.0.2", "2001:db9::1"],
            ],
            [&["::/0"], &[], &["2001:db8::1"], &["192.0.2.1"]],
            [&[], &["0.0.0.0/0"], &["2001:db8::1"], &["192.0.2.1", "::ffff:192.0.2.1"]],
        ];
        for [allowed, denied, inside, outside] in table {
            let networks = networks(allowed, denied);
            let admits = |address: &&str| networks.admit(address.parse().unwrap());
            assert!(inside.iter().all(admits), "{allowed:?} {denied:?} {inside:?}");
            assert!(!outside.iter().any(admits), "{allowed:?} {denied:?} {outside:?}");
        }
    }

    proptest! {
        #[test]
        fn denied_is_denied_and_mapping_makes_no_difference(address: u32, network: u32, length in 0u8..=32, everybody: bool) {
            let address = Ipv4Addr::from(address);
            let network = Ipv4Net::new(network.into(), length).unwrap();
            let mut networks = Networks::default();
            networks.deny(network.into());
            if everybody {
                networks.allow("0.0.0.0/0".parse().unwrap());
            }
            prop_assert_eq!(networks.admit(address.into()), !network.contains(&address));
            prop_assert_eq!(networks.admit(address.to_ipv6_mapped().into()), !network.contains(&address));
        }
    }
}
