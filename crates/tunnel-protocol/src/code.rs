//! Why something was refused: one list for logins, binds, streams and visitors' error pages.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A reason, as it travels. The number goes on visitor streams, the kebab-case name into JSON, logs and the
/// `Tunnel-Error` header. Numbers and names are never given another meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// A reason this build doesn't know: the peer is newer.
    Unknown,

    // Login.
    /// The token is not one of the server's (or no longer).
    Unauthorized,
    /// Too many wrong tokens from this address lately.
    TooManyAttempts,
    /// The client speaks only versions older than the server's oldest.
    ClientTooOld,
    /// The client speaks only versions newer than the server's newest.
    ServerTooOld,
    /// The server has no room for another session or lane now.
    ServerBusy,
    /// The session a lane wanted to join is gone.
    NoSuchSession,
    /// A message that can't be read or makes no sense here.
    Malformed,
    /// The server is going away; come back.
    Draining,
    /// The token's time is over.
    TokenExpired,

    // Binds.
    /// The name or port is held by somebody else.
    NameTaken,
    /// Not a name that can be served.
    NameInvalid,
    /// A name set aside for the operator.
    NameReserved,
    /// The port is outside the range the server offers.
    PortNotAllowed,
    /// The port is in use, or was released by somebody else less than a minute ago.
    PortTaken,
    /// The token's or the server's limit on tunnels is reached.
    LimitReached,
    /// The server doesn't offer this kind of tunnel.
    NotSupported,
    /// Another client of the same owner took the tunnel over.
    TakenOver,
    /// The token was revoked while in use.
    Revoked,
    /// The operator closed it.
    Closed,
    /// The token may not publish this domain.
    DomainNotAllowed,
    /// The tunnel's time, set by its owner, is over.
    Expired,
    /// A policy of the tunnel can't be carried out: it makes no sense, or not for this kind of tunnel.
    PolicyInvalid,
    /// The name is served by a pool of clients whose wish differs from this one.
    PoolMismatch,
    /// The token may not have tunnels of this kind.
    KindNotAllowed,

    // Streams: the client's side.
    /// The stream names a tunnel the client doesn't have.
    NoSuchTunnel,
    /// Nothing listens at the upstream's address.
    UpstreamRefused,
    /// The upstream's address can't be reached or resolved.
    UpstreamUnreachable,
    /// The upstream didn't accept the connection in time.
    UpstreamTimeout,
    /// The client has no room for another visitor.
    ClientBusy,
    /// The upstream should speak TLS and doesn't, or its certificate isn't trusted.
    UpstreamTls,

    // Visitors: the server's side.
    /// No tunnel has this name.
    TunnelNotFound,
    /// The tunnel's client is away and didn't return in time.
    TunnelAway,
    /// The tunnel or the server carries as many visitors as it may.
    TooManyVisitors,
    /// The upstream closed or broke the exchange before its answer was whole.
    UpstreamBroken,
    /// The upstream's answer isn't valid HTTP.
    UpstreamMalformed,
    /// The request isn't valid, or could be read in two ways.
    BadRequest,
    /// The request's head is larger than 32 KiB or has more than 100 fields.
    HeadTooLarge,
    /// The request's head took longer than it may.
    RequestTimeout,
    /// A method this proxy doesn't carry (CONNECT).
    MethodNotAllowed,
    /// An HTTP version this port doesn't speak.
    VersionNotSupported,
    /// The request is for a host this connection may not be used for.
    Misdirected,
    /// Something broke in the tunnel itself.
    Internal,
    /// The tunnel wants a user and password.
    AuthRequired,
    /// The tunnel doesn't take visitors from this address.
    AddressNotAllowed,
    /// This address has made as many requests as it may for now.
    RateLimited,
    /// The upstream is a development server that doesn't take the public host name.
    UpstreamHostRefused,
    /// The operator keeps visitors out of the tunnel for now.
    TunnelPaused,
    /// The server shows browsers a warning before a tunnel's first page.
    FirstVisit,
    /// The server has hardly any memory left: no new visitors for now.
    Overloaded,
    /// The tunnel's owner may move so many bytes a month, and has.
    QuotaUsed,
}

/// Number, name, code: the one table everything else is read from.
const TABLE: &[(u16, &str, Code)] = &[
    (0, "unknown", Code::Unknown),
    (100, "unauthorized", Code::Unauthorized),
    (101, "too-many-attempts", Code::TooManyAttempts),
    (102, "client-too-old", Code::ClientTooOld),
    (103, "server-too-old", Code::ServerTooOld),
    (104, "server-busy", Code::ServerBusy),
    (105, "no-such-session", Code::NoSuchSession),
    (106, "malformed", Code::Malformed),
    (107, "draining", Code::Draining),
    (108, "token-expired", Code::TokenExpired),
    (200, "name-taken", Code::NameTaken),
    (201, "name-invalid", Code::NameInvalid),
    (202, "name-reserved", Code::NameReserved),
    (203, "port-not-allowed", Code::PortNotAllowed),
    (204, "port-taken", Code::PortTaken),
    (205, "limit-reached", Code::LimitReached),
    (206, "not-supported", Code::NotSupported),
    (207, "taken-over", Code::TakenOver),
    (208, "revoked", Code::Revoked),
    (209, "closed", Code::Closed),
    (210, "domain-not-allowed", Code::DomainNotAllowed),
    (211, "expired", Code::Expired),
    (212, "policy-invalid", Code::PolicyInvalid),
    (213, "pool-mismatch", Code::PoolMismatch),
    (214, "kind-not-allowed", Code::KindNotAllowed),
    (300, "no-such-tunnel", Code::NoSuchTunnel),
    (301, "upstream-refused", Code::UpstreamRefused),
    (302, "upstream-unreachable", Code::UpstreamUnreachable),
    (303, "upstream-timeout", Code::UpstreamTimeout),
    (304, "client-busy", Code::ClientBusy),
    (305, "upstream-tls", Code::UpstreamTls),
    (400, "tunnel-not-found", Code::TunnelNotFound),
    (401, "tunnel-away", Code::TunnelAway),
    (402, "too-many-visitors", Code::TooManyVisitors),
    (403, "upstream-broken", Code::UpstreamBroken),
    (404, "upstream-malformed", Code::UpstreamMalformed),
    (405, "bad-request", Code::BadRequest),
    (406, "head-too-large", Code::HeadTooLarge),
    (407, "request-timeout", Code::RequestTimeout),
    (408, "method-not-allowed", Code::MethodNotAllowed),
    (409, "version-not-supported", Code::VersionNotSupported),
    (410, "misdirected", Code::Misdirected),
    (411, "internal", Code::Internal),
    (412, "auth-required", Code::AuthRequired),
    (413, "address-not-allowed", Code::AddressNotAllowed),
    (414, "rate-limited", Code::RateLimited),
    (415, "upstream-host-refused", Code::UpstreamHostRefused),
    (416, "tunnel-paused", Code::TunnelPaused),
    (417, "quota-used", Code::QuotaUsed),
    (418, "first-visit", Code::FirstVisit),
    (419, "overloaded", Code::Overloaded),
];

impl Code {
    /// The number that stands for this reason on a visitor stream.
    pub fn number(self) -> u16 {
        self.row().0
    }

    /// The reason a number stands for; [`Code::Unknown`] for numbers of newer peers.
    pub fn from_number(number: u16) -> Self {
        TABLE.iter().find(|row| row.0 == number).map_or(Self::Unknown, |row| row.2)
    }

    /// The kebab-case name, as in JSON and in the `Tunnel-Error` header.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Every reason there is, for documentation and tests.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.2)
    }

    fn row(self) -> &'static (u16, &'static str, Self) {
        TABLE.iter().find(|row| row.2 == self).unwrap_or(&TABLE[0])
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Ok(TABLE.iter().find(|row| row.1 == name).map_or(Self::Unknown, |row| row.2))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete_and_agrees_with_the_json_names() {
        let mut numbers: Vec<_> = Code::all().map(Code::number).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), TABLE.len(), "numbers are unique and ascending");
        for code in Code::all() {
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
            assert_eq!(Code::from_number(code.number()), code);
        }
        assert_eq!(Code::from_number(9999), Code::Unknown);
        assert_eq!(serde_json::from_str::<Code>("\"from-the-future\"").unwrap(), Code::Unknown);
    }
}
