//! From the flags about visitors to the policies of a tunnel.

use std::{path::Path, time::Duration};

use tunnel_client::{FieldEdit, PolicyError, ProxyProtocol};

use super::{client::ResolveError, values};
use crate::{
    args::{Policies, ProxyVersion, StreamPolicies, WebPolicies},
    state::files::{self, FileError},
};

impl Policies {
    pub(crate) fn resolve(self) -> Result<tunnel_client::Policies, ResolveError> {
        let mut policies = tunnel_client::Policies::new();
        for network in self.allow_cidr {
            policies = policies.allow_network(&network.to_string())?;
        }
        for network in self.deny_cidr {
            policies = policies.deny_network(&network.to_string())?;
        }
        if let Some(Rate { count, per }) = self.rate_limit {
            policies = policies.rate_limit(count, per)?;
        }
        if let Some(bytes) = self.bandwidth {
            policies = policies.bandwidth(bytes)?;
        }
        if let Some(after) = self.expire {
            policies = policies.expire(after)?;
        }
        Ok(policies)
    }
}

impl StreamPolicies {
    pub(crate) fn resolve(self) -> Result<tunnel_client::Policies, ResolveError> {
        let policies = self.common.resolve()?;
        Ok(match self.proxy_protocol {
            None => policies,
            Some(ProxyVersion::V1) => policies.proxy_protocol(ProxyProtocol::V1),
            Some(ProxyVersion::V2) => policies.proxy_protocol(ProxyProtocol::V2),
        })
    }
}

impl WebPolicies {
    pub(crate) fn resolve(self, warnings: &mut Vec<String>) -> Result<tunnel_client::Policies, ResolveError> {
        let mut policies = self.stream.resolve()?;
        if self.login_was_typed {
            warnings.push(
                "a password on the command line can be seen by others on this machine; use --basic-auth-file or \
                 TUNNEL_BASIC_AUTH"
                    .into(),
            );
        }
        for login in &self.basic_auth {
            policies = policies.basic_auth(login.expose())?;
        }
        if let Some(path) = &self.basic_auth_file {
            let logins = read_logins(path, warnings)?;
            for (at, login) in logins.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                policies = policies.basic_auth(login).map_err(|error| match error {
                    PolicyError::Login => {
                        FileError::content(path, format!("line {}: {error}", at + 1)).into()
                    }
                    error => ResolveError::from(error),
                })?;
            }
        }
        if let Some(host) = self.host_header {
            policies = policies.host_header(host)?;
        }
        for Edit(edit) in self.request_header {
            policies = policies.request_header(edit)?;
        }
        for Edit(edit) in self.response_header {
            policies = policies.response_header(edit)?;
        }
        Ok(if self.compress { policies.compress() } else { policies })
    }
}

/// A file that holds at least one login: an empty one would be an open door.
fn read_logins(path: &Path, warnings: &mut Vec<String>) -> Result<String, ResolveError> {
    if let Some(mode) = files::open_to_others(path) {
        warnings.push(format!(
            "others on this machine can read {} (mode {mode:03o}); run: chmod 600 {}",
            path.display(),
            path.display()
        ));
    }
    let bytes = files::read_named(path, "--basic-auth-file")?;
    let text = String::from_utf8(bytes).map_err(|_| FileError::content(path, "it isn't UTF-8"))?;
    if text.trim().is_empty() {
        return Err(FileError::content(path, "it holds no login; write one USER:PASSWORD a line").into());
    }
    Ok(text)
}

/// A header to set or remove.
#[derive(Clone, Debug)]
pub struct Edit(pub(crate) FieldEdit);

impl Edit {
    /// `Name: value` or `-Name`.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let edit = match (text.strip_prefix('-'), text.split_once(':')) {
            (Some(name), _) => FieldEdit::remove(name.trim()),
            (None, Some((name, value))) => FieldEdit::set(name.trim_end(), value.trim()),
            (None, None) => return Err("write `Name: value` to set a header, `-Name` to remove one".into()),
        };
        edit.map(Self).map_err(|error| error.to_string())
    }
}

/// Over which times rates make sense, and servers take them.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// So many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In what time.
    pub per: Duration,
}

impl Rate {
    /// `100/s`, `60/m`, `1000/h`, `3000/10s`.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let read = || {
            let (count, unit) = text.split_once('/')?;
            let per = match unit.trim() {
                "s" => Duration::from_secs(1),
                "m" | "min" => Duration::from_secs(60),
                "h" => Duration::from_secs(3600),
                time if time.ends_with(|c: char| c.is_ascii_digit()) => return None,
                time => values::duration(time).ok().filter(|per| (SHORTEST..=LONGEST).contains(per))?,
            };
            let count = count.trim().parse().ok().filter(|count| *count > 0)?;
            Some(Self { count, per })
        };
        read().ok_or_else(|| "write a rate such as `100/s`, `60/m` or `3000/10s`".into())
    }
}

/// `10MB/s`, `512KiB/s`, `1.5GB/s`, in bytes a second.
pub(crate) fn bandwidth(text: &str) -> Result<u64, String> {
    let amount = text.trim().strip_suffix("/s").unwrap_or(text.trim());
    let bytes = bytes(amount).ok_or("write bytes a second, such as `10MB/s`, `500kB/s` or `1MiB/s`")?;
    if bytes < 1_000 { Err(PolicyError::Bandwidth.to_string()) } else { Ok(bytes) }
}

/// `10MB`, `512KiB`, `1.5GB`.
pub(crate) fn bytes(amount: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 8] = [
        ("B", 1),
        ("kB", 1_000),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];
    let split = amount.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(amount.len());
    let (number, unit) = (&amount[..split], amount[split..].trim());
    let unit = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes);
    times(number, unit?)
}

/// A decimal number with at most three digits after its point, times a unit.
fn times(number: &str, unit: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let thousandths = format!("{part:0<3}");
    if part.is_empty() || thousandths.len() > 3 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    whole.checked_add(thousandths.parse::<u64>().ok()?.checked_mul(unit)? / 1_000)
}

#[cfg(test)]
mod tests;
