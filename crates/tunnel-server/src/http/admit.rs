//! What a tunnel's policies make of web visitors: who is let in, and which fields are rewritten on the way.

use std::net::{IpAddr, SocketAddr};

use ::http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use ipnet::IpNet;
use tunnel_protocol::Code;

use super::{
    Desk,
    headers::{X_FORWARDED_FOR, X_FORWARDED_PROTO},
    respond::Failure,
};
use crate::{
    addresses::Excess,
    policy::{Denied, NoLogin, Policies, Public},
};

impl Desk {
    /// The address whose visitor this is: that of the connection, or what a trusted proxy says.
    pub(super) fn visitor_of(&self, headers: &HeaderMap) -> IpAddr {
        let connected = self.visitor.ip().to_canonical();
        if !self.is_trusted {
            return connected;
        }
        first_stranger(connected, headers, &self.shared.config().trusted_proxies)
    }

    /// Whether it came over TLS, here or to a trusted proxy.
    pub(super) fn is_secure(&self, headers: &HeaderMap) -> bool {
        let said = headers.get(X_FORWARDED_PROTO).filter(|_| self.is_trusted);
        said.map_or(self.door.secure.is_some(), |proto| proto == "https")
    }

    /// The same as [`visitor_of`](Self::visitor_of) as an address; the port is 0 where it isn't known.
    pub(super) fn visitor_address(&self, headers: &HeaderMap) -> SocketAddr {
        let (ip, connected) = (self.visitor_of(headers), self.visitor.ip().to_canonical());
        SocketAddr::new(ip, if ip == connected { self.visitor.port() } else { 0 })
    }
}

/// Whether a visitor is let in.
///
/// # Errors
/// [`Failure`], for the page the visitor gets instead.
pub(super) fn check(policies: &Policies, visitor: IpAddr, headers: &HeaderMap) -> Result<(), Failure> {
    policies.admit(visitor).map_err(Failure::from)?;
    let Some(logins) = &policies.logins else { return Ok(()) };
    logins.check(visitor, headers).map_err(|no_login| match no_login {
        NoLogin::Wrong => Failure::new(Code::AuthRequired),
        NoLogin::Wait(wait) => {
            Failure::new(Code::RateLimited).because("too many wrong passwords").after(wait)
        }
    })
}

/// Makes of a request's fields what the upstream is to see; what its answer is to be translated back to.
pub(super) fn to_upstream(policies: &Policies, headers: &mut HeaderMap) -> Option<Public> {
    if policies.logins.is_some() {
        // It was for us, and is nothing that the upstream should know.
        headers.remove(AUTHORIZATION);
    }
    let public = policies.host.as_ref().and_then(|host| host.to_upstream(headers));
    policies.request_fields.apply_to_request(headers);
    public
}

/// Makes of an answer's fields what the visitor is to see.
pub(super) fn to_visitor(policies: &Policies, public: Option<&Public>, headers: &mut HeaderMap) {
    if let (Some(host), Some(public)) = (&policies.host, public) {
        host.to_visitor(headers, public);
    }
    policies.response_fields.apply(headers);
}

impl From<Excess> for Failure {
    /// Not for any host: it is about all that the address does here.
    fn from(excess: Excess) -> Self {
        match excess {
            Excess::Many => Self::new(Code::TooManyVisitors)
                .because("Your address has as many requests under way as this server takes from one"),
            Excess::Fast(wait) => Self::new(Code::RateLimited)
                .because("more requests than this server takes from one address")
                .after(wait),
        }
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Address => Self::new(Code::AddressNotAllowed),
            Denied::Rate(wait) => Self::new(Code::RateLimited).after(wait),
        }
    }
}

/// Proxies write on the right of the list whom they had it from, so the first from the right that isn't one of ours
/// is the visitor; what is on the left of it is that visitor's own invention.
fn first_stranger(connected: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    // Bytes, not text: what a visitor put into the list must not make us overlook what a proxy added to it.
    let values = headers.get_all(X_FORWARDED_FOR).into_iter().map(HeaderValue::as_bytes);
    let hops: Vec<_> = values.flat_map(|value| value.split(|byte| *byte == b',')).collect();
    let mut nearest = connected;
    for hop in hops.into_iter().rev().map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty()) {
        let Some(address) = address(hop) else { break };
        nearest = address;
        if !trusted.iter().any(|network| network.contains(&nearest)) {
            break;
        }
    }
    nearest
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = str::from_utf8(hop).ok()?;
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().ok().or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_trusted_proxy_the_visitor_is_the_first_stranger_from_the_right() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).into();
        for (lines, expected) in [
            (&[][..], "10.0.0.1"),
            (&["192.0.2.1"], "192.0.2.1"),
            (&["203.0.113.9, 192.0.2.1"], "192.0.2.1"),
            (&["203.0.113.9", "192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["192.0.2.1, unknown"], "10.0.0.1"),
            (&["192.0.2.1, evil, fd00::2"], "fd00::2"),
            (&["\u{ff}, 192.0.2.1"], "192.0.2.1"),
            (&["\u{ff}", "192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1:8080"], "192.0.2.1"),
            (&["[2001:db8::1]:80, fd00::1"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
        ] {
            let headers =
                lines.iter().map(|line| (X_FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap()));
            let headers: HeaderMap<_> = headers.collect();
            let visitor = first_stranger("10.0.0.1".parse().unwrap(), &headers, &trusted);
            assert_eq!(visitor.to_string(), expected, "{lines:?}");
        }
    }
}
