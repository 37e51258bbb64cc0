//! Who a load balancer says is visiting: the same however its header arrives, bounded, and as we would write it.

use tunnel_protocol::proxy::{self, ProxyHeader, ProxyVersion, V1_MAX, V2_MAX};

use crate::{cut, memory};

/// Reads `data` as a header, whole and in pieces.
pub fn check(data: &[u8]) {
    // Nothing is kept of it.
    let whole = memory::within(0, || proxy::read(data));
    let parts = cut::beginnings(data).map(|beginning| memory::within(0, || proxy::read(beginning)));
    let first = parts.into_iter().find(|part| *part != Ok(None)).unwrap_or(Ok(None));
    assert_eq!(first, whole, "the cuts matter");
    assert!(data.len() < V2_MAX || whole != Ok(None), "more is wanted than may be had");
    let Ok(Some((header, length))) = whole else { return };
    assert!(length <= data.len() && length <= if data[0] == b'P' { V1_MAX } else { V2_MAX });
    assert_eq!(proxy::read(&data[..length]), whole, "what follows matters");
    if let ProxyHeader::Forwarded(told) = header {
        assert_eq!(told.source.is_ipv4(), told.destination.is_ipv4());
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let again = proxy::write(version, Some(told.source), Some(told.destination));
            assert_eq!(
                proxy::read(&again),
                Ok(Some((header, again.len()))),
                "{version:?} says something else"
            );
        }
    }
}
