//! What a tunnel's owner wants done with its visitors, said in types: mistakes are found here, before anything is
//! published, and the server carries it out before anything of a visitor reaches this machine.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use ipnet::IpNet;
use tunnel_protocol::{
    BindSpec, Policy, TokenHash,
    policy::{BasicLogin, FieldEdit, FieldError},
    proxy::ProxyVersion,
    text::printable,
};

use crate::Upstream;

/// The most policies one tunnel may have, each login, network and field counted as one.
pub const POLICIES_MAX: usize = 128;

/// The most bytes of header fields that one tunnel's policies may have: all of them travel in one message.
const FIELDS_MAX: usize = 16 * 1024;

/// What becomes of a tunnel's visitors. Nothing said, everybody is let in and nothing is changed.
///
/// ```
/// # fn example() -> Result<(), tunnel_client::PolicyError> {
/// use std::time::Duration;
/// use tunnel_client::{HostHeader, Policies};
///
/// let policies = Policies::new()
///     .basic_auth("ann:correct horse")?
///     .allow_network("192.0.2.0/24")?
///     .rate_limit(100, Duration::from_secs(1))?
///     .host_header(HostHeader::Upstream)?;
/// # drop(policies);
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Policies {
    list: Vec<Policy>,
    /// `user:password`, each.
    logins: Vec<String>,
    host: Option<HostHeader>,
    proxy_protocol: Option<ProxyProtocol>,
}

/// What the upstream of a web tunnel sees as `Host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// The name it is reached by: `localhost:3000`. `localhost` for Unix sockets, directories and programs.
    Upstream,
    /// This host, with a port if need be.
    Value(String),
}

/// How the upstream is told who visits: a line or block of bytes before those of the visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// In words.
    V1,
    /// In binary.
    V2,
}

/// Why a policy can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not `user:password`. It is not repeated here, since most of it is a password.
    #[error("a login is `USER:PASSWORD`, both not empty, without line breaks")]
    Login,
    /// No network and no address.
    #[error("`{0}` is no network; write `192.0.2.0/24`, `2001:db8::/32` or one address")]
    Network(String),
    /// A header field.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// No host.
    #[error("`{0}` is no host; write `rewrite`, or a name with a port if need be: `localhost:3000`")]
    Host(String),
    /// A rate of nothing, or over no time, or over more than a day.
    #[error("a rate limit allows at least one request in a time of at most a day, such as `100/s`")]
    Rate,
    /// Less than a visitor can be served with.
    #[error("a bandwidth is at least 1 kB/s")]
    Bandwidth,
    /// Over before it began, or in more than a year.
    #[error("a tunnel lives at least a second and expires within a year")]
    Expire,
    /// More than fit into one message to the server.
    #[error(
        "these are more policies than one tunnel may have ({POLICIES_MAX}, with at most 16 KiB of headers)"
    )]
    TooMany,
}

impl Policies {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Web visitors must log in (RFC 7617) with one of the logins given: `user:password`. The server is told a salted
    /// MAC of it only.
    ///
    /// # Errors
    /// [`PolicyError::Login`], [`PolicyError::TooMany`].
    pub fn basic_auth(mut self, user_and_password: &str) -> Result<Self, PolicyError> {
        let (user, password) = user_and_password.split_once(':').ok_or(PolicyError::Login)?;
        if user.is_empty() || password.is_empty() || user_and_password.chars().any(char::is_control) {
            return Err(PolicyError::Login);
        }
        self.logins.push(user_and_password.to_owned());
        self.checked()
    }

    /// Only visitors from one of the networks given are let in: `192.0.2.0/24`, `2001:db8::/32`, or an address.
    ///
    /// # Errors
    /// [`PolicyError::Network`], [`PolicyError::TooMany`].
    pub fn allow_network(self, network: &str) -> Result<Self, PolicyError> {
        self.with(Policy::AllowNetwork { network: read_network(network)? })
    }

    /// Visitors from this network are not let in, also when it is part of one that is allowed.
    ///
    /// # Errors
    /// [`PolicyError::Network`], [`PolicyError::TooMany`].
    pub fn deny_network(self, network: &str) -> Result<Self, PolicyError> {
        self.with(Policy::DenyNetwork { network: read_network(network)? })
    }

    /// The upstream of a web tunnel sees this `Host`. What its answers say of that host (`Location`, cookie domains,
    /// `Access-Control-Allow-Origin`) is said of the public one, and the public `Origin` and `Referer` become its own.
    ///
    /// # Errors
    /// [`PolicyError::Host`].
    pub fn host_header(mut self, host: HostHeader) -> Result<Self, PolicyError> {
        if let HostHeader::Value(host) = &host
            && !is_authority(host)
        {
            return Err(PolicyError::Host(printable(host, 100)));
        }
        self.host = Some(host);
        Ok(self)
    }

    /// Sets or removes a field of every request, after those before it: [`FieldEdit::set`], [`FieldEdit::remove`].
    ///
    /// # Errors
    /// [`PolicyError::Field`], [`PolicyError::TooMany`].
    pub fn request_header(self, edit: FieldEdit) -> Result<Self, PolicyError> {
        self.with(Policy::RequestHeader(edit.check()?))
    }

    /// Sets or removes a field of every answer of the upstream, after those before it.
    ///
    /// # Errors
    /// [`PolicyError::Field`], [`PolicyError::TooMany`].
    pub fn response_header(self, edit: FieldEdit) -> Result<Self, PolicyError> {
        self.with(Policy::ResponseHeader(edit.check()?))
    }

    /// One visitor address may make `count` requests (connections, flows) in `per`, all at once or spread out. Replaces
    /// what was said before.
    ///
    /// # Errors
    /// [`PolicyError::Rate`].
    pub fn rate_limit(mut self, count: u32, per: Duration) -> Result<Self, PolicyError> {
        let per_ms = u64::try_from(per.as_millis()).ok().filter(|ms| (1..=24 * 3600 * 1000).contains(ms));
        let per_ms = per_ms.filter(|_| count > 0).ok_or(PolicyError::Rate)?;
        self.list.retain(|policy| !matches!(policy, Policy::RateLimit { .. }));
        self.with(Policy::RateLimit { count, per_ms })
    }

    /// All visitors together may move this many bytes a second, each way. At least 1,000. Replaces what was said
    /// before.
    ///
    /// # Errors
    /// [`PolicyError::Bandwidth`].
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Result<Self, PolicyError> {
        if bytes_per_second < 1_000 {
            return Err(PolicyError::Bandwidth);
        }
        self.list.retain(|policy| !matches!(policy, Policy::Bandwidth { .. }));
        self.with(Policy::Bandwidth { bytes: bytes_per_second })
    }

    /// Answers of a web tunnel are compressed on the server where the visitor takes that and it is of use.
    pub fn compress(mut self) -> Self {
        if !self.list.contains(&Policy::Compress) {
            self.list.push(Policy::Compress);
        }
        self
    }

    /// The tunnel ends this long after it was asked for: from a second to a year. Replaces what was said before.
    ///
    /// # Errors
    /// [`PolicyError::Expire`].
    pub fn expire(mut self, after: Duration) -> Result<Self, PolicyError> {
        let left_ms = u64::try_from(after.as_millis()).ok();
        let left_ms = left_ms.filter(|ms| (1_000..=365 * 24 * 3600 * 1000).contains(ms));
        self.list.retain(|policy| !matches!(policy, Policy::Expire { .. }));
        self.with(Policy::Expire { left_ms: left_ms.ok_or(PolicyError::Expire)? })
    }

    /// The upstream is told who visits, before the visitor's first byte. It must expect that.
    pub fn proxy_protocol(mut self, version: ProxyProtocol) -> Self {
        self.proxy_protocol = Some(version);
        self
    }

    /// What the client itself has to do at the begin of each stream.
    pub(crate) fn writes_proxy_protocol(&self) -> Option<ProxyVersion> {
        self.proxy_protocol.map(|version| match version {
            ProxyProtocol::V1 => ProxyVersion::V1,
            ProxyProtocol::V2 => ProxyVersion::V2,
        })
    }

    /// As the server is told, for a tunnel to this upstream, or to a program. Logins are told as a
    /// client with this token does.
    pub(crate) fn for_tunnel(
        &self,
        spec: &BindSpec,
        upstream: Option<&Upstream>,
        token: Option<&TokenHash>,
    ) -> Vec<Policy> {
        let mut list = self.list.clone();
        list.extend(self.logins.iter().map(|login| Policy::BasicAuth(BasicLogin::by_owner(login, token))));
        if let Some(host) = &self.host {
            let (own, https) = upstream.map_or(("localhost".to_owned(), false), own_authority);
            let host = match host {
                HostHeader::Upstream => own,
                HostHeader::Value(host) => host.clone(),
            };
            list.push(Policy::HostHeader { host, https });
        }
        if self.proxy_protocol.is_some() && matches!(spec, BindSpec::Http(_)) {
            list.push(Policy::SeparateStreams);
        }
        list
    }

    fn with(mut self, policy: Policy) -> Result<Self, PolicyError> {
        self.list.push(policy);
        self.checked()
    }

    fn checked(self) -> Result<Self, PolicyError> {
        let size = |policy: &Policy| match policy {
            Policy::RequestHeader(edit) | Policy::ResponseHeader(edit) => {
                edit.name.len() + edit.value.as_ref().map_or(0, String::len)
            }
            _ => 0,
        };
        // Two places are kept for what `for_tunnel` adds.
        let count = self.list.len() + self.logins.len();
        if count > POLICIES_MAX - 2 || self.list.iter().map(size).sum::<usize>() > FIELDS_MAX {
            return Err(PolicyError::TooMany);
        }
        Ok(self)
    }
}

impl FromStr for HostHeader {
    type Err = PolicyError;

    /// `rewrite`, or a host.
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        if text == "rewrite" {
            return Ok(Self::Upstream);
        }
        let valid = is_authority(text).then(|| Self::Value(text.to_owned()));
        valid.ok_or_else(|| PolicyError::Host(printable(text, 100)))
    }
}

impl fmt::Debug for Policies {
    /// How many only: headers may hold keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.len() + self.logins.len();
        f.debug_struct("Policies").field("count", &count).finish_non_exhaustive()
    }
}

/// An address without a mask is a network of one.
fn read_network(text: &str) -> Result<String, PolicyError> {
    let text = text.trim();
    let network = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>());
    let network = network.map_err(|_| PolicyError::Network(text.chars().take(100).collect()))?;
    Ok(network.trunc().to_string())
}

/// How an upstream knows itself, and whether by `https://`. The scheme's own port isn't named, as browsers don't.
fn own_authority(upstream: &Upstream) -> (String, bool) {
    if upstream.address().is_none() {
        return ("localhost".to_owned(), false);
    }
    let url = upstream.url();
    match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(authority), _) => (authority.strip_suffix(":443").unwrap_or(authority).to_owned(), true),
        (None, authority) => {
            let authority = authority.unwrap_or(&url);
            (authority.strip_suffix(":80").unwrap_or(authority).to_owned(), false)
        }
    }
}

/// A host with or without a port, and no user (RFC 9110 §7.2). The server looks closer.
fn is_authority(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    !text.is_empty() && text.len() <= 255 && !text.starts_with(':') && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests;
